import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import jwt
import pytest
import trustme
from cryptography import x509
from pydantic import SecretStr, ValidationError

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.dataverse.batch import Operation, decode_batch, encode_batch
from campaign_sync.crm.dataverse.login import entra_login
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.mirror.source import Withdrawal
from campaign_sync.crm.port import CrmError, CrmNeeds, CrmSetupError
from campaign_sync.crm.testing import NEWS, NOON, OFFERS, PRESS
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, Unsubscribe
from campaign_sync_tests.crm.conformance.dataverse_tables import dataverse_settings, field_settings
from campaign_sync_tests.crm.dataverse.conftest import OpenCrm, add_people
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse

DAY = timedelta(days=1)


def unsubscribe(number: int, at: datetime = NOON + DAY) -> Unsubscribe:
    return Unsubscribe(f"p{number}@example.org", at, "nord", "optimizely:getUnsubscribes", opt_in_id=NEWS)


def test_only_values_that_change_are_written(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 4)
    at = f"{NOON:%Y-%m-%dT%H:%M:%SZ}"
    dataverse.rows["contact"]["c0000"].update(cs_news=True, cs_newson=at)
    dataverse.rows["contact"]["c0001"].update(cs_news=False, cs_newson=at)
    newer = f"{NOON + 2 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    dataverse.rows["contact"]["c0002"].update(cs_news=True, cs_newson=newer)
    crm = open_crm()
    with crm.snapshot():
        pass
    # A grant of the future grants nothing yet, and must not do so once its day has come.
    dataverse.rows["contact"]["c0003"].update(cs_news=True, cs_newson="2999-01-01T00:00:00Z")
    crm.record_unsubscribes([unsubscribe(number) for number in range(4)])
    changed = {key: values for _, key, values in dataverse.writes}
    withdrawn = {"cs_news": False, "cs_newson": (NOON + DAY).isoformat()}
    assert changed == {"c0000": withdrawn, "c0003": withdrawn}


def test_a_record_that_changes_at_the_same_moment_stays_pending(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 2)
    for key in ("c0000", "c0001"):
        dataverse.rows["contact"][key].update(cs_news=True, cs_newson="2026-01-01T00:00:00Z")
    patch = dataverse._patch

    def meanwhile(table: str, key: str, body: dict[str, object], headers: object) -> tuple[int, object]:
        if key == "c0000":
            dataverse.rows[table][key]["version"] += 1
        return patch(table, key, body, headers)

    dataverse._patch = meanwhile  # type: ignore[method-assign]
    result = open_crm().record_unsubscribes([unsubscribe(0), unsubscribe(1)])
    assert (result.written, result.unmatched) == (1, ("p0@example.org",))


def test_a_batch_whose_answer_is_lost_is_written_once(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 2)
    for key in ("c0000", "c0001"):
        dataverse.rows["contact"][key].update(cs_news=True, cs_newson="2026-01-01T00:00:00Z")
    dataverse.loses_answer = True
    result = open_crm().record_unsubscribes([unsubscribe(0), unsubscribe(1)])
    assert (result.written, result.unmatched) == (2, ())
    assert len(dataverse.writes) == 2


def test_an_address_without_a_consent_gets_a_record_that_is_always_the_same(dataverse: Dataverse, url: str) -> None:
    add_people(dataverse, 1)
    purpose = dataverse.add("msdynmkt_purpose", msdynmkt_name="Commercial")
    topic = dataverse.add("msdynmkt_topic", msdynmkt_name="News", msdynmkt_purposeid=purpose)
    settings = dataverse_settings(url, {NEWS: {"purpose": "Commercial", "topic": "News"}})
    withdrawal = withdrawal_of(NEWS)
    consents = dataverse.rows["msdynmkt_contactpointconsent4"]
    keys = set()
    for number in range(2):  # the consent was there when the unsubscribe was planned, and is gone now
        consents.clear()
        source = DataverseSource(settings, CrmNeeds(frozenset(), frozenset()))
        again = replace(withdrawal, event_id=str(number), occurred_at=NOON + number * DAY)
        assert list(source.write_withdrawals([again])) == [[again]]
        ((key, consent),) = consents.items()
        keys.add(key)
        assert (consent["msdynmkt_purposeid"], consent["msdynmkt_topicid"]) == (purpose, topic)
        assert consent["msdynmkt_value"] == 534120002
    assert len(keys) == 1
    assert not any("example.org" in call for call in dataverse.calls)  # URLs are in the logs of proxies


def history_settings(url: str, **changes: object) -> DataverseSettings:
    table = {"table": "cs_consentlog", "contact": "cs_contactid", "opt_in": "cs_consent", "kind": "cs_what"}
    words = {"granted": ["In"], "withdrawn": ["out"], "at": "cs_on"}
    return dataverse_settings(url, {NEWS: {"value": "n"}}, consents={**table, **words, **changes})


def withdrawal_of(opt_in_id: str) -> Withdrawal:
    contact = Entity(EntityType.CONTACT, "c0000")
    return Withdrawal("1", contact, "P0@example.org", opt_in_id, "nord", NOON, "optimizely:getUnsubscribes", "x")


def test_a_withdrawal_is_added_to_the_history_however_its_opt_in_is_spelled(dataverse: Dataverse, url: str) -> None:
    add_people(dataverse, 1)
    source = DataverseSource(history_settings(url), CrmNeeds(frozenset(), frozenset()))
    withdrawal = withdrawal_of(NEWS.upper())
    assert list(source.write_withdrawals([withdrawal])) == [[withdrawal]]
    assert dataverse.rows["cs_consentlog"]["1"]["cs_consent"] == "n"


def test_a_word_for_a_column_of_numbers_is_a_mistake_with_its_place(dataverse: Dataverse, url: str) -> None:
    add_people(dataverse, 1)
    source = DataverseSource(history_settings(url, kind="statecode"), CrmNeeds(frozenset(), frozenset()))
    with pytest.raises(CrmSetupError, match=r"cs_consentlog\.statecode takes numbers, and the configuration has 'out'"):
        list(source.write_withdrawals([withdrawal_of(NEWS)]))
    assert not dataverse.writes


def test_a_bounce_is_written_to_every_record_with_the_address(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    dataverse.add("contact", "same", emailaddress1=" P0@Example.org")
    bounces = [Bounce("p0@example.org", NOON, "nord", "optimizely:getOutBounces", BounceKind.HARD)]
    assert open_crm().record_bounces(bounces).written == 1
    assert {key for _, key, _ in dataverse.writes} == {"c0000", "same"}
    assert dataverse.rows["contact"]["same"]["cs_bouncedon"] == NOON.isoformat()


def test_a_record_that_was_deleted_stays_pending(dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    dataverse.rows["contact"]["c0000"].update(cs_news=True, cs_newson="2026-01-01T00:00:00Z")
    crm = open_crm()
    with crm.snapshot():
        pass
    del dataverse.rows["contact"]["c0000"]
    assert crm.record_unsubscribes([unsubscribe(0)]).unmatched == ("p0@example.org",)


def test_a_refusal_for_lack_of_rights_names_the_privilege_and_no_person(
    dataverse: Dataverse, open_crm: OpenCrm
) -> None:
    add_people(dataverse, 1)
    dataverse.rows["contact"]["c0000"].update(cs_news=True, cs_newson="2026-01-01T00:00:00Z")
    dataverse.refuses_all = True
    with pytest.raises(CrmSetupError, match="prvWriteContact") as caught:
        open_crm().record_unsubscribes([unsubscribe(0)])
    assert "Geheimrath" not in str(caught.value)


def test_batches_survive_whatever_the_values_are() -> None:
    body = {"text": "Ä\r\n--batch\r\n👩‍👩‍👧‍👦"}
    content_type, data = encode_batch([Operation("PATCH", "/x(1)", body), Operation("GET", "/y")])
    boundary = content_type.partition("boundary=")[2]
    assert data.isascii()
    assert data.decode().count(f"--{boundary}") == 3
    parts = [(204, b""), (400, json.dumps(body, ensure_ascii=False).encode())]
    content = b"".join(
        b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 %d X\r\nA: b\r\n\r\n%s\r\n" % part for part in parts
    )
    answers = decode_batch(Answer(200, {"Content-Type": "multipart/mixed; boundary=b"}, content + b"--b--\r\n"))
    assert [(answer.status, answer.headers["A"]) for answer in answers] == [(204, "b"), (400, "b")]
    assert answers[1].json() == body
    with pytest.raises(ValueError, match="complete"):
        decode_batch(Answer(200, {"Content-Type": "multipart/mixed; boundary=b"}, content))


def test_a_certificate_logs_in_with_a_signed_assertion(url: str, dataverse: Dataverse, open_crm: OpenCrm) -> None:
    add_people(dataverse, 1)
    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("app.example.org", key_type=trustme.KeyType.RSA)
    settings = field_settings(url, client_secret=None, certificate=SecretStr(_pem(issued)))
    open_crm(settings=settings).check()
    forms: list[dict[str, str]] = []

    class Session:
        def call_without_token(self, method: str, url: str, *, data: dict[str, str], setting: str) -> Answer:
            forms.append(data)
            return Answer(200, MappingProxyType({}), b'{"access_token": "t"}')

    assert entra_login(settings)(Session()) == "t"  # type: ignore[arg-type]
    certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    key = certificate.public_key()
    token_url = f"{url}/{settings.tenant_id}/oauth2/v2.0/token"
    claims = jwt.decode(forms[0]["client_assertion"], key, ["PS256"], audience=token_url)  # type: ignore[arg-type]
    assert claims["sub"] == claims["iss"] == "the-client"
    assert forms[0]["scope"] == f"{url}/.default"
    bad = field_settings(url, client_secret=None, certificate=SecretStr("no certificate"))
    with pytest.raises(CrmSetupError, match=r"crm\.certificate"):
        open_crm(settings=bad).check()


@pytest.mark.parametrize(
    ("content", "retryable"),
    [
        (b'{"error": "temporarily_unavailable", "error_codes": [90033]}', True),
        (b'{"error": "invalid_client", "error_codes": [7000215]}', False),
        (b"<html>a proxy</html>", False),
    ],
)
def test_only_a_login_that_may_succeed_later_is_retried(url: str, content: bytes, retryable: bool) -> None:
    class Session:
        def call_without_token(self, method: str, url: str, **_: object) -> Answer:
            return Answer(400, MappingProxyType({}), content)

    with pytest.raises(CrmError) as caught:
        entra_login(field_settings(url))(Session())  # type: ignore[arg-type]
    assert caught.value.retryable is retryable


def _pem(issued: trustme.LeafCert) -> str:
    return (issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()).decode()


@pytest.mark.parametrize(
    ("opt_ins", "more", "message"),
    [
        ({NEWS: {"topic": "t"}}, {}, "add purpose"),
        ({NEWS: {"purpose": "p", "field": {"contact": {"granted": "x"}}}}, {}, "either of a purpose or in columns"),
        ({NEWS: {}}, {}, "neither purpose nor field"),
        ({NEWS: {"purpose": "p", "value": "v"}}, {}, "value is for consents"),
        ({NEWS: {"purpose": "p"}}, {"client_secret": None}, "exactly one of client_secret and certificate"),
        ({NEWS: {"purpose": "p"}}, {"contact": None}, "contact is null"),
        ({NEWS: {"purpose": "p"}}, {"contact": None, "lead": None, "account": None}, "all null"),
        ({NEWS: {"purpose": "p"}}, {"contact": {"id": "x"}}, "own id"),
        ({NEWS: {"purpose": "p"}}, {"bounce": {}}, "bounce"),
        ({NEWS: {"purpose": "p"}}, {"contact": {"city": "Stadt 1"}}, "pattern"),
    ],
)
def test_mistakes_in_the_settings_are_named(
    opt_ins: dict[str, dict[str, Any]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        dataverse_settings("https://contoso.crm4.dynamics.com", opt_ins, **more)


def test_settings_have_the_three_places_of_consents() -> None:
    places: dict[str, dict[str, Any]] = {
        NEWS: {"purpose": "p"},
        OFFERS: {"field": {"contact": {"granted": "x"}}},
        PRESS: {"value": "v"},
    }
    table = {"table": "t", "contact": "x", "opt_in": "x", "kind": "x", "granted": ["1"], "withdrawn": ["2"], "at": "x"}
    settings = dataverse_settings("https://contoso.crm4.dynamics.com", places, consents=table)
    assert isinstance(settings, DataverseSettings)
    assert [opt_in.opt_in_id for opt_in in settings.configured_opt_ins()] == [NEWS, OFFERS, PRESS]
    assert NOON.tzinfo is UTC

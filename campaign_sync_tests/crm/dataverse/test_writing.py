import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.crm.web_api.answer import Answer
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, BounceKind, Unsubscribe
from campaign_sync_tests.crm.conformance.dataverse_tables import dataverse_settings, field_settings
from campaign_sync_tests.crm.dataverse.conftest import OpenCrm, add_people
from campaign_sync_tests.crm.dataverse.stand_in import Dataverse, RefusalError

DAY = timedelta(days=1)

NO_FOLDER = Path("none")
"""Where nothing is read, nothing is copied."""


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
        source = DataverseSource(settings, CrmNeeds(frozenset(), frozenset()), NO_FOLDER)
        again = replace(withdrawal, event_id=str(number), occurred_at=NOON + number * DAY)
        assert list(source.write_withdrawals([again])) == [[again]]
        ((key, consent),) = consents.items()
        keys.add(key)
        assert (consent["msdynmkt_purposeid"], consent["msdynmkt_topicid"]) == (purpose, topic)
        assert consent["msdynmkt_value"] == 534120002
    assert len(keys) == 1
    assert not any("example.org" in call for call in dataverse.calls)  # URLs are in the logs of proxies


def test_what_the_vendor_reported_is_read_back_as_the_vendors(
    dataverse: Dataverse, url: str, open_crm: OpenCrm
) -> None:
    purpose_source(dataverse, url)
    add_people(dataverse, 2)
    for number, value in enumerate((534120001, 534120002)):
        add_consent(dataverse, f"p{number}@example.org", value)
    crm = open_crm(settings=purpose_settings(url))
    crm.record_unsubscribes([unsubscribe(0)])
    with crm.snapshot([NEWS]) as snapshot:
        sources = [snapshot.consents(Entity(EntityType.CONTACT, f"c000{n}"))[NEWS][-1].source for n in range(2)]
    assert sources == ["optimizely:getUnsubscribes", "Customer Insights: other"]


PURPOSE = "00000000-aaaa-4aaa-8aaa-000000000000"

CONSENTS = "msdynmkt_contactpointconsent4"


def purpose_source(dataverse: Dataverse, url: str) -> DataverseSource:
    """Return a source whose opt-in is a purpose."""
    add_people(dataverse, 1)
    dataverse.add("msdynmkt_purpose", PURPOSE, msdynmkt_name="Commercial")
    return DataverseSource(purpose_settings(url), CrmNeeds(frozenset(), frozenset()), NO_FOLDER)


def purpose_settings(url: str) -> DataverseSettings:
    return dataverse_settings(url, {NEWS: {"purpose": "Commercial"}})


def add_consent(dataverse: Dataverse, address: str, value: int = 534120001, **values: Any) -> str:
    about: dict[str, Any] = {"msdynmkt_contactpointtype": 534120000, "msdynmkt_contactpointconsenttype": 534120000}
    about |= {"msdynmkt_contactpointvalue": address, "msdynmkt_value": value, "msdynmkt_purposeid": PURPOSE}
    return dataverse.add(CONSENTS, **about, **values)


def test_a_consent_that_we_made_and_that_got_another_address_is_not_overwritten(dataverse: Dataverse, url: str) -> None:
    source, withdrawal = purpose_source(dataverse, url), withdrawal_of(NEWS)
    list(source.write_withdrawals([withdrawal]))
    ((first, consent),) = dataverse.rows[CONSENTS].items()
    consent.update(msdynmkt_contactpointvalue="other@example.org", msdynmkt_value=534120001)
    for _ in range(2):
        assert list(source.write_withdrawals([withdrawal])) == [[withdrawal]]
    values = {row["msdynmkt_contactpointvalue"]: row["msdynmkt_value"] for row in dataverse.rows[CONSENTS].values()}
    assert values == {"other@example.org": 534120001, "P0@example.org": 534120002}
    assert (len(dataverse.writes), dataverse.rows[CONSENTS][first]["msdynmkt_value"]) == (2, 534120001)


def test_a_consent_that_is_made_at_the_same_moment_is_not_overwritten(dataverse: Dataverse, url: str) -> None:
    source, withdrawal = purpose_source(dataverse, url), withdrawal_of(NEWS)
    patch = dataverse._patch

    def meanwhile(table: str, key: str, body: dict[str, Any], headers: Any) -> tuple[int, object]:
        add_consent(dataverse, "p0@example.org", key=key)
        return patch(table, key, body, headers)

    dataverse._patch = meanwhile  # type: ignore[method-assign]
    assert list(source.write_withdrawals([withdrawal])) == [[]]
    assert not dataverse.writes
    dataverse._patch = patch  # type: ignore[method-assign]
    assert list(source.write_withdrawals([withdrawal])) == [[withdrawal]]


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({"createdon": "2026-06-01T00:00:00Z", "msdynmkt_source": 534120005}, True),
        ({"createdon": "2026-06-01T00:00:00Z", "msdynmkt_source": 534120003}, False),
        ({"createdon": "2999-01-01T00:00:00Z", "msdynmkt_source": 534120005}, False),
        ({"modifiedon": "2026-06-01T00:00:00Z", "msdynmkt_source": 534120001}, False),
    ],
    ids=["form", "loaded", "future", "changed"],
)
def test_a_consent_given_on_a_form_after_the_unsubscribe_is_kept_and_its_person_stays_out(
    dataverse: Dataverse, url: str, open_crm: OpenCrm, changes: dict[str, Any], is_kept: bool
) -> None:
    purpose_source(dataverse, url)
    add_consent(dataverse, "p0@example.org", **changes)
    crm = open_crm(settings=purpose_settings(url))
    assert crm.record_unsubscribes([unsubscribe(0)]).unmatched == ()
    assert bool(dataverse.writes) is not is_kept
    with crm.snapshot([NEWS]) as snapshot:
        assert consenting(snapshot, NEWS) == []


def history_settings(url: str, **changes: object) -> DataverseSettings:
    table = {"table": "cs_consentlog", "contact": "cs_contactid", "opt_in": "cs_consent", "kind": "cs_what"}
    words = {"granted": ["In"], "withdrawn": ["out"], "at": "cs_on"}
    return dataverse_settings(url, {NEWS: {"value": "n"}}, consents={**table, **words, **changes})


def withdrawal_of(opt_in_id: str) -> Withdrawal:
    contact = Entity(EntityType.CONTACT, "c0000")
    return Withdrawal("1", contact, "P0@example.org", opt_in_id, "nord", NOON, "optimizely:getUnsubscribes", "x")


def test_a_withdrawal_is_added_to_the_history_however_its_opt_in_is_spelled(dataverse: Dataverse, url: str) -> None:
    add_people(dataverse, 1)
    source = DataverseSource(history_settings(url), CrmNeeds(frozenset(), frozenset()), NO_FOLDER)
    withdrawal = withdrawal_of(NEWS.upper())
    assert list(source.write_withdrawals([withdrawal])) == [[withdrawal]]
    assert dataverse.rows["cs_consentlog"]["1"]["cs_consent"] == "n"


def test_a_word_for_a_column_of_numbers_is_a_mistake_with_its_place(dataverse: Dataverse, url: str) -> None:
    add_people(dataverse, 1)
    source = DataverseSource(history_settings(url, kind="statecode"), CrmNeeds(frozenset(), frozenset()), NO_FOLDER)
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


def grant_news(dataverse: Dataverse, *keys: str) -> None:
    for key in keys:
        dataverse.rows["contact"][key].update(cs_news=True, cs_newson="2026-01-01T00:00:00Z")


def test_records_that_the_user_has_no_access_to_stay_pending_alone_even_if_they_are_all(
    dataverse: Dataverse, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    add_people(dataverse, 2)
    grant_news(dataverse, "c0000", "c0001")
    dataverse.refused = {"c0000", "c0001"}
    result = open_crm().record_unsubscribes([unsubscribe(0), unsubscribe(1)])
    assert (result.written, result.unmatched) == (0, ("p0@example.org", "p1@example.org"))
    (message,) = [record.message for record in caplog.records if "refused" in record.message]
    assert "refused 2 records" in message
    assert "set Write on the table to Organization" in message
    assert "Geheimrath" not in caplog.text


@pytest.mark.parametrize("shows_privileges", [True, False])
def test_a_privilege_that_the_user_lacks_is_an_error_after_everything_else_is_written(
    dataverse: Dataverse, open_crm: OpenCrm, url: str, shows_privileges: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dataverse.shows_privileges = shows_privileges
    add_people(dataverse, 1)
    dataverse.add("lead", "l0", emailaddress1="p0@example.org")
    dataverse.lacks = {"prvWritelead"}
    columns = {"state": "cs_bounced"}
    crm = open_crm(settings=field_settings(url, bounce={"lead": columns, "contact": columns}))
    with pytest.raises(CrmSetupError, match=r"prvWritelead.*Security roles") as caught:
        crm.record_bounces([Bounce("p0@example.org", NOON, "nord", "optimizely:getOutBounces", BounceKind.HARD)])
    assert "Geheimrath" not in str(caught.value)
    assert [key for _, key, _ in dataverse.writes] == ["c0000"]
    assert "prvWritelead" not in caplog.text


def test_a_privilege_that_only_a_plugin_takes_leaves_its_records_pending(
    dataverse: Dataverse, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    add_people(dataverse, 1)
    grant_news(dataverse, "c0000")

    def patch(*_: object) -> tuple[int, object]:
        raise RefusalError(403, "0x80040220", "Principal user (Id=u1) is missing prvReadOpportunity")

    dataverse._patch = patch  # type: ignore[method-assign, assignment]
    assert open_crm().record_unsubscribes([unsubscribe(0)]).unmatched == ("p0@example.org",)
    assert "the user lacks prvReadOpportunity" in caplog.text


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

"""Consent events, bounces and keys as they stand in real CRMs: none of them may get anybody into a list."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from campaign_sync.crm.port import CrmError, Pick
from campaign_sync.crm.sql import schema
from campaign_sync.crm.testing.reads import consenting
from campaign_sync.domain.checks import check_consents
from campaign_sync.domain.consent import ConsentEventCounts, ConsentWords
from campaign_sync.domain.erasure import NO_ERASURES
from campaign_sync.domain.feedback import Bounce, BounceKind, Unsubscribe
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync_tests.crm.small_crm import NOON, SmallCrm

WORDS = ConsentWords(withdrawn=frozenset({"revoked"}), ignored=frozenset({"requested"}))


@pytest.fixture
def odd(small: SmallCrm) -> SmallCrm:
    """A CRM whose consents may be anything, with Anna, who consented on the first of March."""
    small.words = WORDS
    small.allow_anything()
    small.person("anna", "anna@example.org")
    small.consent("anna")
    return small


def later(days: float = 1) -> str:
    return f"{NOON + timedelta(days=days):%Y-%m-%d %H:%M:%S}"


def kept_out(small: SmallCrm, opt_in_id: str = "news") -> dict[str, str]:
    """Why people aren't selected, by id; and the gate agrees about everybody else."""
    sifted = split_by_consent(
        small.selected(opt_in_id=opt_in_id), Suppressed.of(small.suppressed(), opt_in_id, NO_ERASURES)
    )
    with small.crm.snapshot() as snapshot:
        agreeing = {entity for entity, *_ in consenting(snapshot, opt_in_id)}
    chosen = {f"{row.entity_type}:{row.entity_id}" for row in sifted.rows.itertuples()}
    assert chosen <= agreeing
    return dict(zip(sifted.rejections["entity_id"], sifted.rejections["reason"], strict=True))


@pytest.mark.sample(12)
@pytest.mark.parametrize("kind", ["WITHDRAWN", " withdrawn ", "Revoked", "withdrawn\u00a0"])
@pytest.mark.parametrize(
    ("entity_type", "opt_in_id"), [("Contact", "news "), (" CONTACT", "NEWS"), ("contact", "news")]
)
def test_a_withdrawal_counts_however_it_is_spelled(odd: SmallCrm, kind: str, entity_type: str, opt_in_id: str) -> None:
    odd.event("w", entity_type, "anna", opt_in_id, kind, later())
    assert kept_out(odd) == {"anna": Reason.CONSENT_WITHDRAWN}


def test_what_the_configuration_ignores_says_nothing(odd: SmallCrm) -> None:
    odd.event("r", "contact", "anna", "news", "Requested", later())
    assert kept_out(odd) == {}
    with odd.crm.snapshot() as snapshot:
        assert snapshot.consent_rows("news") == ConsentEventCounts(1)


@pytest.mark.parametrize("kind", ["maybe", "", None, "granted!"])
def test_a_kind_that_is_not_understood_keeps_its_person_out_of_that_opt_in(odd: SmallCrm, kind: str | None) -> None:
    odd.consent("anna", "offers")
    odd.event("m", "contact", "anna", "news", kind, later())
    assert kept_out(odd) == {"anna": Reason.CONSENT_UNCLEAR}
    assert kept_out(odd, "offers") == {}


def test_who_shares_the_address_is_kept_out_as_well_unless_they_consented_later(odd: SmallCrm) -> None:
    odd.person("double", "ANNA@example.org")
    odd.consent("double")
    odd.person("newer", "Anna@example.org")
    odd.consent("newer", days=2)
    odd.event("m", "contact", "anna", "news", "maybe", later())
    assert kept_out(odd) == {"anna": Reason.CONSENT_UNCLEAR, "double": Reason.CONSENT_UNCLEAR}


@pytest.mark.parametrize("opt_in_id", ["nonsense", None, ""])
def test_an_opt_in_that_cannot_be_read_keeps_its_person_out_of_all_lists(odd: SmallCrm, opt_in_id: str | None) -> None:
    odd.consent("anna", "offers")
    odd.event("w", "contact", "anna", opt_in_id, "withdrawn", later())
    assert kept_out(odd) == kept_out(odd, "offers") == {"anna": Reason.CONSENT_UNCLEAR}
    with odd.crm.snapshot() as snapshot:
        assert consenting(snapshot, "news") == consenting(snapshot, "offers") == []


@pytest.mark.sample(6)
@pytest.mark.parametrize("opt_in_id", ["telephone", None, ""])
@pytest.mark.parametrize("kind", ["granted", "Confirmed "])
def test_a_grant_of_something_that_is_no_opt_in_excludes_no_person(
    odd: SmallCrm, opt_in_id: str | None, kind: str
) -> None:
    for number in range(30):
        odd.event(f"t{number}", "contact", "anna", opt_in_id, kind, later())
    assert kept_out(odd) == {}
    with odd.crm.snapshot() as snapshot:
        assert [entity for entity, *_ in consenting(snapshot, "news")] == ["contact:anna"]
        assert not snapshot.consent_rows("news").unclear


@pytest.mark.parametrize("entity_type", ["person", None])
def test_an_entity_type_that_cannot_be_read_keeps_out_everybody_with_that_id(
    odd: SmallCrm, entity_type: str | None
) -> None:
    odd.person("ben", "ben@example.org")
    odd.consent("ben")
    odd.person("anna", "anna.lead@example.org", kind="lead")
    odd.consent("anna", kind="lead")
    odd.event("w", entity_type, "anna", "news", "withdrawn", later())
    suppressed = odd.suppressed()
    assert sorted(zip(suppressed["entity_type"], suppressed["entity_id"], suppressed["kind"], strict=True)) == [
        ("contact", "anna", "unclear"),
        ("lead", "anna", "unclear"),
    ]
    assert kept_out(odd) == {"anna": Reason.CONSENT_UNCLEAR}


def test_a_consent_given_after_what_is_not_understood_counts(odd: SmallCrm) -> None:
    for number, (entity_type, opt_in_id, kind) in enumerate(
        [("contact", "news", "maybe"), ("person", "news", "withdrawn"), ("contact", "nonsense", "withdrawn")]
    ):
        odd.event(f"m{number}", entity_type, "anna", opt_in_id, kind, later(1))
    assert kept_out(odd) == {"anna": Reason.CONSENT_UNCLEAR}
    odd.consent("anna", days=2)
    assert kept_out(odd) == {}


@pytest.mark.parametrize("at", ["2062-06-01 09:00:00", "infinity"])
def test_a_grant_in_the_future_grants_nothing_and_beats_no_withdrawal(odd: SmallCrm, at: str) -> None:
    odd.person("ben", "ben@example.org")
    odd.event("f", "contact", "ben", "news", "granted", at)
    odd.event("w", "contact", "anna", "news", "withdrawn", later())
    odd.event("g", "contact", "anna", "news", "confirmed", at)
    assert kept_out(odd) == {"anna": Reason.CONSENT_WITHDRAWN, "ben": Reason.CONSENT_IN_FUTURE}
    with odd.crm.snapshot() as snapshot:
        assert consenting(snapshot, "news") == []


def test_a_grant_of_a_few_minutes_ahead_is_one_of_another_clock(odd: SmallCrm) -> None:
    odd.person("ben", "ben@example.org")
    soon = datetime.now(UTC) + timedelta(minutes=10)
    odd.event("f", "contact", "ben", "news", "granted", f"{soon:%Y-%m-%d %H:%M:%S}")
    assert kept_out(odd) == {}


@pytest.mark.sample(6)
@pytest.mark.parametrize("at", ["2062-06-01 09:00:00", "infinity", None])
def test_a_withdrawal_counts_whatever_its_time(odd: SmallCrm, at: str | None) -> None:
    odd.person("double", "anna@example.org")
    odd.consent("double", days=3)
    odd.event("w", "contact", "anna", "news", "withdrawn", at)
    odd.consent("anna", days=2)
    assert kept_out(odd) == {"anna": Reason.CONSENT_WITHDRAWN, "double": Reason.CONSENT_WITHDRAWN}


def test_a_grant_without_a_time_excludes_only_its_own_person(odd: SmallCrm) -> None:
    odd.person("ben", "ben@example.org")
    odd.event("g", "contact", "ben", "news", "granted", None)
    assert kept_out(odd) == {"ben": Reason.CONSENT_UNCLEAR}
    with odd.crm.snapshot() as snapshot:
        assert snapshot.consent_rows("news") == ConsentEventCounts(2, 0, {"occurred_at": 1})


@pytest.mark.parametrize("written", ["2026-03-02T09:00:00", "2026-03-02T09:00:00Z", "2026-03-02 11:00:00.5+02:00"])
def test_moments_are_compared_and_not_their_texts(small_sqlite: SmallCrm, written: str) -> None:
    small_sqlite.allow_anything()
    small_sqlite.person("anna", "anna@example.org")
    small_sqlite.event("g", "contact", "anna", "news", "granted", written)
    small_sqlite.event("w", "contact", "anna", "news", "withdrawn", "2026-03-02 18:00:00")
    assert kept_out(small_sqlite) == {"anna": Reason.CONSENT_WITHDRAWN}
    small_sqlite.event("a", "contact", "anna", "news", "granted", "2026-03-02T18:00:01")
    assert kept_out(small_sqlite) == {}


@pytest.mark.parametrize("at", ["NULL", "'2062-01-01 00:00:00'"])
def test_a_bounce_counts_whatever_its_time_and_its_spelling(small: SmallCrm, at: str) -> None:
    if small.url.startswith("postgresql"):
        small.execute("ALTER TABLE address_state ALTER COLUMN bounced_at DROP NOT NULL")
    elif small.url.startswith("mariadb"):
        small.execute("ALTER TABLE address_state MODIFY bounced_at DATETIME(6) NULL")
    else:
        small.execute("DROP TABLE address_state")
        small.execute("CREATE TABLE address_state (address, bounce_kind, bounced_at, mandator, source)")
    for kind in ("Hard ", "LIMIT", "unheard", "Soft"):
        small.execute(f"INSERT INTO address_state VALUES ('{kind.strip()}@example.org', '{kind}', {at}, 'nord', 's')")
    suppressed = small.suppressed()
    assert set(suppressed["address"]) == {"limit@example.org", "hard@example.org", "unheard@example.org"}
    small.person("anna", "soft@example.org")
    hard = Bounce("soft@example.org", NOON, "nord", "optimizely:getOutBounces", BounceKind.HARD)
    assert small.crm.record_bounces([hard]).written == 1
    assert "soft@example.org" in set(small.suppressed()["address"])


def test_a_column_of_dates_is_refused_by_its_name(postgres_url: str) -> None:
    small = SmallCrm(postgres_url)
    small.execute("ALTER TABLE consent_event ALTER COLUMN occurred_at TYPE DATE")
    with pytest.raises(CrmError, match=r"consent_event\.occurred_at is DATE and must be a time"):
        small.crm.check()
    with pytest.raises(CrmError, match=r"consent_event\.occurred_at is DATE and must be a time"):
        small.selected()


def test_keys_of_fixed_width_are_the_same_keys(postgres_url: str) -> None:
    small = SmallCrm(postgres_url)
    small.execute("ALTER TABLE consent_event DROP CONSTRAINT consent_event_opt_in_id_fkey")
    for place in (
        *("contact.id", "marketing_list_member.entity_id", "marketing_list_member.entity_type", "opt_in.opt_in_id"),
        *("opt_in.mandator", "consent_event.id", "consent_event.entity_id", "consent_event.entity_type"),
        *("consent_event.opt_in_id", "consent_event.kind"),
    ):
        table, column = place.split(".")
        small.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE CHAR(60)")
    small.person("anna", "anna@example.org")
    small.consent("anna")
    small.person("ben", "ben@example.org")
    small.consent("ben")
    small.consent("ben", event="withdrawn", days=1)
    assert kept_out(small) == {"ben": Reason.CONSENT_WITHDRAWN}
    assert small.selected()["entity_id"].tolist() == ["anna", "ben"]
    left = Unsubscribe("anna@example.org", NOON + timedelta(days=2), "nord", "optimizely:getUnsubscribes")
    assert small.crm.record_unsubscribes([left]).written == 1
    again = small.crm.record_unsubscribes([left])
    assert (again.written, again.already_known, again.unmatched) == (0, 1, ())
    assert kept_out(small) == {"anna": Reason.UNSUBSCRIBED, "ben": Reason.CONSENT_WITHDRAWN}


def test_an_unsubscribe_reaches_consents_of_odd_spelling(odd: SmallCrm) -> None:
    odd.person("ben", "ben@example.org")
    odd.event("b", "Contact ", " ben", "NEWS", "granted", later())
    assert kept_out(odd) == {}
    left = Unsubscribe("ben@example.org", NOON + timedelta(days=2), "nord", "optimizely:getUnsubscribes")
    assert odd.crm.record_unsubscribes([left]).written == 1
    assert odd.crm.record_unsubscribes([left]).already_known == 1
    assert kept_out(odd) == {"ben": Reason.UNSUBSCRIBED}


def test_two_keys_that_differ_in_blanks_only_are_refused(small: SmallCrm) -> None:
    small.person("anna", "anna@example.org")
    small.person(" anna", "other@example.org")
    with pytest.raises(CrmError, match=r"contact\.id: 1 keys are there twice, only with other blanks"):
        small.selected()


def test_two_opt_ins_that_differ_in_spelling_only_are_refused_and_others_are_not(small: SmallCrm) -> None:
    small.add(schema.opt_in, opt_in_id="NEWS", mandator="nord", description="Other", media_type="email")
    small.person("anna", "anna@example.org")
    small.consent("anna", "offers")
    with small.crm.snapshot() as snapshot:
        for use in (snapshot.opt_in, snapshot.consent_rows, lambda opt_in_id: consenting(snapshot, opt_in_id)):
            with pytest.raises(CrmError, match=r"opt_in\.opt_in_id has 'news' 2 times, only spelled differently"):
                use("news")
    assert kept_out(small, "offers") == {}


@pytest.mark.parametrize("pick", [Pick("marketing_list", "Some"), Pick("report", "Some")])
def test_numbers_are_no_keys(small_direct: SmallCrm, pick: Pick) -> None:
    for entity_id in ("00123", "123"):
        small_direct.person(entity_id, f"{entity_id}@example.org")
        small_direct.consent(entity_id)
    small_direct.consent("00123", event="withdrawn", days=1)
    small_direct.execute("CREATE TABLE picked (entity_id INTEGER)")
    small_direct.execute("INSERT INTO picked VALUES (123)")
    query = "SELECT entity_id FROM picked"
    small_direct.add(schema.marketing_list, id="d", name="Some", kind="dynamic", entity_type="contact", query=query)
    small_direct.add(schema.report, id="r", name="Some", entity_type="contact", view_name="picked")
    with pytest.raises(CrmError, match=r"entity_id.*must (be|yield) text"):
        small_direct.selected(pick)


def test_a_collation_that_ignores_case_is_refused(small_sqlite: SmallCrm) -> None:
    small_sqlite.person("a1", "anna@example.org")
    small_sqlite.consent("A1")
    small_sqlite.execute("ALTER TABLE consent_event RENAME TO events")
    columns = "id, entity_type, entity_id COLLATE NOCASE AS entity_id, opt_in_id, kind, occurred_at, source, evidence"
    small_sqlite.execute(f"CREATE VIEW consent_event AS SELECT {columns} FROM events")
    small_sqlite.execute("ALTER TABLE contact RENAME TO people")
    small_sqlite.execute("CREATE VIEW contact AS SELECT id COLLATE NOCASE AS id, email FROM people")
    with small_sqlite.crm.snapshot() as snapshot, pytest.raises(CrmError, match="takes different ids"):
        consenting(snapshot, "news")


def test_ids_in_a_view_that_are_no_text_are_found_by_the_check_and_by_the_selection(small_sqlite: SmallCrm) -> None:
    small_sqlite.execute("ALTER TABLE contact RENAME TO people")
    small_sqlite.execute("INSERT INTO people (id, email) VALUES ('7', 'anna@example.org')")
    small_sqlite.execute("CREATE VIEW contact AS SELECT id + 0 AS id, email FROM people")
    with pytest.raises(CrmError, match=r"contact\.id yields values of type integer and must yield text"):
        small_sqlite.crm.check()
    with pytest.raises(CrmError, match=r"contact\.id yields values of type integer and must yield text"):
        small_sqlite.selected()


def test_sqlites_values_are_sent_as_they_are_stored(small_sqlite: SmallCrm) -> None:
    for column, declared in (("vip", "BOOLEAN"), ("card", "NUMERIC"), ("rate", "DECIMAL(8, 2)"), ("born", "DATE")):
        small_sqlite.execute(f"ALTER TABLE contact ADD COLUMN {column} {declared}")
    small_sqlite.person("c1", "anna@example.org")
    small_sqlite.person("c2", "ben@example.org")
    small_sqlite.execute("UPDATE contact SET vip = 'nein', card = '4111111111111111', rate = '', born = '12.3.1980'")
    small_sqlite.execute("UPDATE contact SET vip = 1, rate = 12.5, born = '1980-03-12' WHERE id = 'c2'")
    people = small_sqlite.selected(columns=["vip", "card", "rate", "born"])[["vip", "card", "rate", "born"]]
    assert people.values.tolist() == [
        ["nein", "4111111111111111", "", "12.3.1980"],
        ["true", "4111111111111111", "12.5", "1980-03-12T00:00:00+00:00"],
    ]


@pytest.mark.sample(3)
@pytest.mark.parametrize("ending", ["-- all of them", "; -- done", ";\n/* end */ ;"])
def test_a_dynamic_lists_query_may_end_in_a_comment(small: SmallCrm, ending: str) -> None:
    small.person("anna", "anna@example.org")
    query = f"SELECT id AS entity_id FROM contact {ending}"
    small.add(schema.marketing_list, id="d", name="Some", kind="dynamic", entity_type="contact", query=query)
    assert small.selected(Pick("marketing_list", "Some"))["entity_id"].tolist() == ["anna"]


def test_a_member_of_another_kind_is_rejected_alone(odd: SmallCrm) -> None:
    odd.add(schema.marketing_list_member, marketing_list_id="all", entity_type="user", entity_id="u1")
    odd.add(schema.marketing_list_member, marketing_list_id="all", entity_type="Contact", entity_id="ben")
    odd.add(schema.contact, id="ben", email="ben@example.org")
    odd.consent("ben")
    assert kept_out(odd) == {"u1": Reason.UNKNOWN_ENTITY_TYPE}
    assert odd.selected(columns=["city"])["entity_id"].tolist() == ["anna", "ben", "u1"]


def test_a_list_is_found_whatever_form_its_umlauts_have(small: SmallCrm) -> None:
    small.add(schema.marketing_list, id="s", name="Su\u0308d ", kind=" Static", entity_type="Contact")
    small.person("anna", "anna@example.org")
    small.add(schema.marketing_list_member, marketing_list_id="s", entity_type="contact", entity_id="anna")
    assert small.selected(Pick("marketing_list", "S\u00fcd"))["entity_id"].tolist() == ["anna"]


def test_how_well_the_events_are_understood_is_counted(odd: SmallCrm) -> None:
    odd.event("1", "Contact", "anna", "news", "granted", later(-1))
    odd.event("2", "contact", "anna", "news ", "granted", later(-1))
    odd.event("3", "contact", "anna", "news", "maybe", later(-1))
    odd.event("4", "person", "anna", "news", "granted", later(-1))
    odd.event("5", "contact", "anna", "nonsense", "withdrawn", later(-1))
    odd.event("6", "contact", "anna", "offers", "maybe", later(-1))
    odd.event("7", "contact", "anna", "nonsense", "requested", later(-1))
    with odd.crm.snapshot() as snapshot:
        read = snapshot.consent_rows("news")
    assert (read.rows, read.cleaned) == (6, 2)
    assert read.unclear == {"kind": 1, "entity_type": 1, "opt_in_id": 1}


@pytest.mark.parametrize(
    ("rows", "unclear", "stops"),
    [(20, 9, False), (20, 10, True), (10_001, 10, False), (10_000, 10, True), (9, 9, False)],
)
def test_ten_events_and_one_in_a_thousand_stop_a_list(rows: int, unclear: int, stops: bool) -> None:
    outcome = check_consents(ConsentEventCounts(rows, 0, {"kind": unclear}))
    assert (outcome.passed, outcome.stops) == (False, stops)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_list_is_never_stopped_by_what_was_cleaned(rows: int, cleaned: int, unclear: int) -> None:
    outcome = check_consents(ConsentEventCounts(rows, cleaned, {"kind": unclear} if unclear else {}))
    assert outcome.stops is (unclear >= 10 and unclear * 1000 >= rows)
    assert outcome.passed is not bool(unclear)


def test_only_a_word_that_many_rows_share_is_shown() -> None:
    words = {("kind", "revoked"): 30, ("kind", "anna@example.org"): 40, ("opt_in_id", "anna"): 3}
    summary = check_consents(ConsentEventCounts(100, 2, {"kind": 70, "opt_in_id": 3}, words)).summary
    assert "73 of 100 consent events can't be understood" in summary
    assert "“revoked” 30 times" in summary
    assert "crm.consent_kinds" in summary
    assert "anna" not in summary


def test_an_export_of_the_future_is_not_finished(database_url: str) -> None:
    schema.create_crm(database_url, exports=True)
    small = SmallCrm(database_url)
    small.execute(
        "INSERT INTO export_log VALUES ('nightly', '2026-03-01 12:00:00'), ('nightly', '2062-03-01 12:00:00')"
    )
    assert small.crm.last_export(" nightly") == NOON
    assert small.crm.last_export("other") is None


def test_bytes_and_latin_1_are_no_addresses_and_a_withdrawal_counts_without_one(small_sqlite: SmallCrm) -> None:
    small = small_sqlite
    small.allow_anything()
    emails = {"text": "' Text@Example.org '", "bytes": "x'6140612E6F7267'", "latin": "CAST(x'FC40612E6F7267' AS TEXT)"}
    for entity_id, email in emails.items():
        small.person(entity_id, None)
        small.execute(f"UPDATE contact SET email = {email} WHERE id = '{entity_id}'")
        small.event(f"{entity_id}-g", "contact", entity_id, "news", "granted", later(-1))
        small.event(f"{entity_id}-w", " Contact", f" {entity_id}\t", "NEWS", "withdrawn", later())
    small.execute("UPDATE consent_event SET source = NULL WHERE id = 'latin-w'")
    small.execute("CREATE TABLE bounced AS SELECT * FROM address_state")
    small.execute("DROP TABLE address_state")
    small.execute("ALTER TABLE bounced RENAME TO address_state")
    for address, kind in (
        ("'Soft@example.org'", "'Soft '"),
        ("'HARD@example.org'", "'hard'"),
        ("'odd@example.org'", "x'736F6674'"),
        ("x'6140612E6F7267'", "'hard'"),
        ("CAST(x'FC40612E6F7267' AS TEXT)", "'hard'"),
    ):
        small.execute(
            f"INSERT INTO address_state (address, bounce_kind, bounced_at) VALUES ({address}, {kind}, 'soon')"
        )
    suppressed = small.suppressed().astype("object")
    columns = ["kind", "address", "entity_id", "opt_in_id", "source"]
    assert suppressed[columns].where(suppressed[columns].notna(), None).values.tolist() == [
        ["bounce", "hard@example.org", None, None, None],
        ["bounce", "odd@example.org", None, None, None],
        ["unsubscribe", None, "bytes", "news", "form"],
        ["unsubscribe", None, "latin", "news", None],
        ["unsubscribe", "text@example.org", "text", "news", "form"],
    ]
    assert suppressed["since"].isna().tolist() == [True, True, False, False, False]


def test_records_of_a_type_without_consents_are_not_read_for_withdrawals(small_sqlite: SmallCrm) -> None:
    """SQLite would read all of them once for each event."""
    small, executed = small_sqlite, list[str]()
    small.person("anna", "anna@example.org")
    small.consent("anna", event="withdrawn")

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert small.suppressed()["address"].tolist() == ["anna@example.org"]
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert any("JOIN contact" in statement for statement in executed)
    assert not any("JOIN lead" in statement for statement in executed)

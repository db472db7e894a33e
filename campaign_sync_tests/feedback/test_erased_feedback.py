"""Feedback about erased people, on both databases: it leaves nothing but tokens, and loses no withdrawal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import select

from campaign_sync.config import FeedbackSettings
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.delivered_files.raw_text import hide_people
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.erasure import Erasure, is_token
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.feedback_rows import Layout, parse_rows
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.feedback.erased_feedback import hide_rows
from campaign_sync.feedback.pending_feedback import PendingFeedback
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.feedback.write_back import FeedbackWriteBack, WriteBackSummary
from campaign_sync.storage.csv_rows import CsvRows
from campaign_sync.storage.erasure_tables import metadata
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.mirror.copied_crm import copied
from campaign_sync_tests.crm.mirror.sources import ListSource
from campaign_sync_tests.domain.people import crm_selection

SECRET = "an invented key of thirty-two characters"
ANNA, BEN = Entity(EntityType.CONTACT, "c1"), Entity(EntityType.CONTACT, "c2")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
ERASED_AT = NOW - 4 * DAY
ADDRESS, OTHER = "anna@example.org", "ben@example.org"


class Feedback:
    """A CRM that still has an erased person, a state database and a file storage."""

    def __init__(self, folder: Path, url: str) -> None:
        self.source = ListSource(
            people_of={EntityType.CONTACT: [("c1", " ANNA@example.org"), ("c2", OTHER)]},
            opt_in_list=[OptIn("news", "nord", "News", "email")],
        )
        self.grant("c1", NOW - 9 * DAY)
        self.grant("c2", NOW - 9 * DAY)
        self.frames = FileStorage(str(folder / "frames"))
        self.state = State(url, erasure_key=lambda: SECRET, files=self.frames)
        (folder / "crm").mkdir()
        self.crm: MirrorCrm = copied(self.source, folder / "crm", memory=self.state.consent_memory())  # type: ignore[arg-type]
        key = self.state.erasures.key()
        subjects = key.subjects([ADDRESS], [str(ANNA)])
        self.state.erasures.record(Erasure("id", ERASED_AT, "officer", "by letter", key.probe, subjects))

    def grant(self, entity_id: str, at: datetime) -> None:
        others = [state for state in self.source.states or () if state[1] != entity_id]
        self.source.states = [*others, ("contact", entity_id, None, "news", "granted", at, "form", None)]

    def write(self, *events: Bounce | Unsubscribe) -> WriteBackSummary:
        pending = PendingFeedback(
            bounces=[event for event in events if isinstance(event, Bounce)],
            unsubscribes=[event for event in events if isinstance(event, Unsubscribe)],
        )
        return FeedbackWriteBack("nord", self.crm, self.state, self.frames, _no_vendor, FeedbackSettings()).run(pending)

    @property
    def withdrawn(self) -> list[Entity]:
        return sorted({withdrawal.entity for withdrawal in self.source.withdrawals})

    def kept_out(self, consent_at: datetime) -> str | None:
        """Return why a record with the address may not be written to on a consent of that time."""
        with self.crm.snapshot() as snapshot:
            known = current_suppression(snapshot, self.state, "nord")
        suppressed = Suppressed.of(known, "news", self.state.erasures.erased())
        person = crm_selection([{"entity_id": "c1", "email": ADDRESS, "consent_at": consent_at}])
        reason = suppressed.reasons(person, person["email"]).iloc[0]
        return reason if isinstance(reason, str) else None

    def stored(self) -> str:
        """Return all that the state database holds."""
        with self.state._engine.connect() as connection:
            return repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])


def _no_vendor() -> NoReturn:
    raise AssertionError("the vendor isn't asked")


def left(at: datetime, address: str = ADDRESS) -> Unsubscribe:
    return Unsubscribe(address, at, "nord", "optimizely:unsubscribes")


@pytest.fixture
def feedback(tmp_path: Path, database_url: str) -> Feedback:
    return Feedback(tmp_path, database_url)


def test_what_the_vendor_repeats_brings_nothing_back_and_still_suppresses(feedback: Feedback) -> None:
    earlier, later = ERASED_AT - DAY, ERASED_AT + DAY
    bounce = Bounce(ADDRESS, earlier, "nord", "optimizely:bounces")
    for _ in range(2):
        summary = feedback.write(left(earlier), left(later), left(later, OTHER), bounce)
        assert (summary.unmatched, feedback.withdrawn) == (0, [BEN])
    stored = feedback.stored()
    assert ADDRESS not in stored
    assert "'c1'" not in stored
    unmatched = feedback.state.feedback_imports.unmatched("nord")
    assert [event.occurred_at for event in unmatched.unsubscribes] == [later]
    assert [event.occurred_at for event in unmatched.bounces] == [earlier]
    addresses = [event.address for event in unmatched.bounces] + [event.address for event in unmatched.unsubscribes]
    assert all(map(is_token, addresses))
    assert feedback.kept_out(ERASED_AT) == Reason.ERASED
    assert feedback.kept_out(later) == Reason.UNSUBSCRIBED
    assert feedback.kept_out(later + DAY) == Reason.BOUNCED


def test_a_withdrawal_of_a_new_person_reaches_the_crm_whenever_it_is_seen(feedback: Feedback) -> None:
    later = ERASED_AT + 2 * DAY
    feedback.write(left(later))
    assert feedback.withdrawn == []
    feedback.grant("c1", ERASED_AT + DAY)  # which the CRM got late
    assert feedback.kept_out(ERASED_AT + DAY) == Reason.UNSUBSCRIBED
    assert feedback.write().unmatched == 0
    assert feedback.withdrawn == [ANNA]
    assert feedback.state.feedback_imports.unmatched("nord").unsubscribes == []


def test_a_row_that_was_stored_with_a_token_is_a_new_person_s_again(feedback: Feedback) -> None:
    feedback.grant("c1", ERASED_AT + DAY)
    token = feedback.state.erasures.erased().address_token(ADDRESS)
    feedback.write(left(ERASED_AT + 2 * DAY, token))
    assert feedback.withdrawn == [ANNA]


def test_an_opt_out_that_is_known_by_its_token_is_no_new_one(feedback: Feedback) -> None:
    token = feedback.state.erasures.erased().address_token(ADDRESS)
    feedback.state.unsubscribed_recipients.mark_known("nord", [token], NOW)
    feedback.grant("c1", ERASED_AT + DAY)
    opt_outs = VendorOptOuts("nord", feedback.crm, feedback.state, feedback.frames)
    assert opt_outs.record([ADDRESS], [ADDRESS], NOW, "optimizely:list", await_rows=False) == set()
    assert feedback.withdrawn == []
    opt_outs.record([ADDRESS], [], NOW, "optimizely:list", await_rows=False)  # taken off the list
    assert feedback.state.unsubscribed_recipients.known("nord") == set()


def test_raw_rows_have_a_token_and_nothing_that_is_not_read_and_are_read_as_before(feedback: Feedback) -> None:
    erased, moment = feedback.state.erasures.erased(), "2026-11-20 10:00:00"
    token, header = (
        erased.address_token(ADDRESS),
        ["time", "recipient", "category", "entity-id", "name", "mailing", "answer"],
    )
    rows = CsvRows(
        [
            header,
            [moment, "Anna@Example.org ", "hard", "c1", "Änne", "12", "550 <ANNA@example.org>: unknown"],
            [moment, OTHER, "hard", "c2", "ü,\n", "12", f"user={ADDRESS}."],
            [moment, OTHER, "hard", "c2", "ü,\n", "12", "550"],
        ]
    )
    layout = Layout("recipient", "time", "category", entity_id="entity-id", time_format="%Y-%m-%d %H:%M:%S", zone=UTC)
    hidden = hide_rows(rows, erased, layout)
    assert list(hidden) == [
        header,
        [moment, token, "hard", "", "", "12", f"550 <{token}>: unknown"],
        [moment, OTHER, "hard", "c2", "", "12", f"user={token}."],
        [moment, OTHER, "hard", "c2", "ü,\n", "12", "550"],
    ]
    before, after = (parse_rows(read, layout, NOW + 9999 * DAY) for read in (rows, hidden))
    assert [row.address for row in after.rows] == [token, OTHER]
    assert [row.category for row in after.rows] == [row.category for row in before.rows] == ["hard", "hard"]
    raw = f"\xff;{ADDRESS};<ANNA@example.org>,{OTHER}".encode("latin-1")
    assert hide_people(raw, erased).content == f"\xff;{token};<{token}>,{OTHER}".encode("latin-1")

"""The adapter as the product uses it: the newest delivery decides; what was handed over counts until it is shown."""

import csv
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from campaign_sync.config.crm_adapters import load_adapter
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.port import Crm, CrmError, CrmNeeds, Pick
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.text import NOT_UTF8
from campaign_sync_tests.crm.files.deliveries import TABLES, Delivery, Table, deliver, settings
from campaign_sync_tests.crm.mirror.memories import ListMemory

LIST = Pick("marketing_list", "Newsletter Nord")
REPORT = Pick("report", "Firmen im Norden")
NOW = datetime.now(UTC)
NEWS = "newsletter"


class FilesCrm:
    """A CRM that delivers files into a folder, as the product opens it. People are read anew for every snapshot."""

    def __init__(self, folder: Path) -> None:
        self.outbox, self.inbox, self.copies = folder / "outbox", folder / "outbox" / "in", folder / "copies"
        self.inbox.mkdir(parents=True)
        self.memory = ListMemory()

    def deliver(self, **changed: Table) -> Delivery:
        return deliver(self.outbox, {**TABLES, **changed}, datetime.now(UTC))

    @property
    def crm(self) -> Crm:
        section = settings(self.outbox).model_copy(update={"people_max_age": timedelta(0)})
        needs = CrmNeeds(frozenset({LIST, REPORT}), frozenset({"Ort"}))
        crm: Crm = load_adapter("files").open(section, CrmContext(needs, self.memory, self.copies))
        return crm

    def selected(self, pick: Pick = LIST, columns: Sequence[str] = ()) -> pd.DataFrame:
        with self.crm.snapshot() as snapshot:
            return pd.concat(snapshot.select(pick, NEWS, columns)).set_index("entity_id")

    def consents(self) -> dict[str, str | None]:
        """Return the kind of consent that decides, by member of the list; None without a consent."""
        kinds = self.selected()["consent_kind"]
        return {str(key): kind if isinstance(kind, str) else None for key, kind in kinds.items()}

    def unsubscribe(self, address: str, moment: datetime = NOW) -> None:
        result = self.crm.record_unsubscribes([Unsubscribe(address, moment, "nord", "optimizely:getUnsubscribes")])
        assert (result.written, result.unmatched) == (1, ())

    def written(self, kind: str) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        for file in sorted(self.inbox.glob(f"{kind}_*.csv")):
            with file.open(encoding="utf-8", newline="") as stream:
                rows += csv.DictReader(stream)
        return rows


@pytest.fixture
def files_crm(tmp_path: Path) -> FilesCrm:
    return FilesCrm(tmp_path)


def states(*rows: Sequence[str]) -> Table:
    return [["entity_type", "entity_id", "opt_in_id", "kind", "changed_at"], *rows]


def test_the_members_of_a_list_are_selected_with_their_consents_and_columns(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    selected = files_crm.selected(columns=["Ort"])
    assert selected["Ort"].to_dict() == {"K1": "Köln", "K2": "Bad\r\nHomburg"}
    assert selected["email"].to_dict() == {"K1": "Anna.Müller@Example.org", "K2": "ben@example.org"}
    assert files_crm.consents() == {"K1": "granted", "K2": "withdrawn"}


def test_the_columns_of_a_report_can_be_selected(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    selected = files_crm.selected(REPORT, ["last_order", "Ort"])
    assert selected["last_order"].fillna("").to_dict() == {"K1": "", "K2": "2026-02-28"}


def test_the_next_delivery_decides_from_the_moment_on_that_it_is_complete(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    assert files_crm.consents()["K1"] == "granted"
    files_crm.deliver(consent_state=states(("contact", "K1", NEWS, "withdrawn", "")))
    assert files_crm.consents()["K1"] == "withdrawn"


def test_the_same_delivery_again_is_no_error(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    crm = files_crm.crm
    for _ in range(3):
        crm.check()
        with crm.snapshot() as snapshot:
            assert sum(map(len, snapshot.select(LIST, NEWS, []))) == 2


def test_a_withdrawal_that_was_handed_over_counts_until_a_delivery_shows_it(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    files_crm.unsubscribe("anna.müller@example.org")
    [row] = files_crm.written("withdrawals")
    assert (row["entity_type"], row["entity_id"], row["opt_in_id"], row["kind"]) == ("contact", "K1", NEWS, "withdrawn")
    assert files_crm.consents()["K1"] == "withdrawn"
    files_crm.deliver()  # the export was made before the import
    assert files_crm.consents()["K1"] == "withdrawn"
    files_crm.deliver(consent_state=states(("contact", "K1", NEWS, "withdrawn", NOW.isoformat())))
    assert files_crm.consents()["K1"] == "withdrawn"
    files_crm.deliver(
        consent_state=states(("contact", "K1", NEWS, "granted", (NOW + timedelta(minutes=1)).isoformat()))
    )
    assert files_crm.consents()["K1"] == "granted"


def test_a_withdrawal_after_a_crash_is_handed_over_again_with_the_same_id(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    files_crm.unsubscribe("anna.müller@example.org")
    files_crm.memory = ListMemory()  # the process died between writing and remembering
    files_crm.unsubscribe("anna.müller@example.org")
    first, second = files_crm.written("withdrawals")
    assert first == second


def test_a_bounce_is_handed_over_and_suppresses_at_once(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    bounce = Bounce("ben@example.org", NOW, "nord", "optimizely:getOutBounces")
    assert files_crm.crm.record_bounces([bounce]).written == 1
    [row] = files_crm.written("bounces")
    assert (row["address"], row["entity_id"], row["bounce_kind"]) == ("ben@example.org", "K2", "hard")
    with files_crm.crm.snapshot() as snapshot:
        assert {"ben@example.org", "carl@example.org"} <= set(snapshot.suppression("nord")["address"])


def test_what_cant_be_handed_over_is_an_error_and_isnt_taken_for_written(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    files_crm.inbox.rmdir()
    with pytest.raises(CrmError, match=r"crm\.write_back"):
        files_crm.unsubscribe("anna.müller@example.org")
    files_crm.inbox.mkdir()
    files_crm.unsubscribe("anna.müller@example.org")
    assert len(files_crm.written("withdrawals")) == 1


def test_a_value_that_isnt_utf8_affects_its_own_row_only(files_crm: FilesCrm) -> None:
    delivery = files_crm.deliver()
    content, rows = delivery.files["contact.csv"]
    delivery.files["contact.csv"] = (content.replace("Köln".encode(), "Köln".encode("cp1252")), rows)
    delivery.write()
    selected = files_crm.selected(columns=["Ort"])
    assert selected["Ort"].to_dict() == {"K1": f"K{NOT_UTF8}ln", "K2": "Bad\r\nHomburg"}


def test_ids_that_come_twice_are_refused(files_crm: FilesCrm) -> None:
    files_crm.deliver(contact=[["id", "email"], ["K1", "a@example.org"], ["K1", "b@example.org"]])
    with pytest.raises(CrmError, match=r"contact\.id: 1 ids come more than once; nothing was changed"):
        files_crm.selected()


def test_a_damaged_file_stops_every_selection_and_not_only_those_that_need_it(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    (files_crm.outbox / "report_north.csv").write_bytes(b"entity_id\r\n")
    with pytest.raises(CrmError, match=r"report_north\.csv isn't the file that the manifest describes"):
        files_crm.selected(LIST)


def test_a_person_is_found_by_any_spelling_of_the_address(files_crm: FilesCrm) -> None:
    files_crm.deliver()
    with files_crm.crm.snapshot() as snapshot:
        assert snapshot.entities_with("ANNA.MÜLLER@example.org") == [Entity(EntityType.CONTACT, "K1")]


@pytest.mark.long
def test_two_hundred_thousand_people_are_read_in_little_memory(files_crm: FilesCrm) -> None:
    count = 200_000
    files_crm.outbox.mkdir(exist_ok=True)
    contact = [["id", "email", "Ort"], *([f"K{number}", f"k{number}@example.org", "Ort"] for number in range(count))]
    members = [["marketing_list_id", "entity_type", "entity_id"], *(["L1", "contact", row[0]] for row in contact[1:])]
    files_crm.deliver(contact=contact, marketing_list_member=members)
    assert peak_of_reading(files_crm) < 10_000_000
    with files_crm.crm.snapshot() as snapshot:
        assert sum(len(frame) for frame in snapshot.select(LIST, NEWS, ["Ort"])) == count


def peak_of_reading(files_crm: FilesCrm) -> int:
    """Return how many bytes are in use at most while all contacts of a delivery are downloaded, verified and read."""
    source = FilesSource(settings(files_crm.outbox), files_crm.copies)
    tracemalloc.start()
    try:
        with source.read(CrmNeeds()) as reader:
            for _ in reader.people(EntityType.CONTACT).chunks:
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

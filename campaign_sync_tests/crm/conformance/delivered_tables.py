"""A CRM that delivers its tables as files, with states of consents, for the conformance tests."""

import csv
import io
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from campaign_sync.crm.files import ADAPTER
from campaign_sync.crm.port import Crm
from campaign_sync.crm.testing import (
    COLUMNS,
    EVERYBODY,
    OPT_INS,
    REPORT_COLUMN,
    VISITORS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
    crm_context,
)
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.files.deliveries import Delivery, Table, encode, settings

_STATE = ["entity_type", "entity_id", "opt_in_id", "kind", "changed_at"]


class DeliveredTables(CrmUnderTest):
    """Delivers everything anew for each `open`, and imports no feedback: so nothing that was written is shown."""

    capabilities = frozenset(Capability) - {Capability.EVENTS, Capability.REFUSES_SOME}
    largest_chunk = 1_000

    def __init__(self, folder: Path, file_format: str) -> None:
        self._folder, self._format = folder, file_format
        self._people: list[Person] = []
        self._members: list[tuple[str, str]] = []
        self._consents: dict[tuple[str, str], Consent] = {}
        self._visits: list[tuple[str, int]] = []
        self._spoiled: str | None = None
        self._feedback.mkdir()

    @property
    def _feedback(self) -> Path:
        return self._folder / "feedback"

    def open(self) -> Crm:
        delivery = self._folder / "delivery"
        self._deliver(delivery)
        if self._spoiled == "gone":
            shutil.rmtree(delivery)
        elif self._spoiled:
            file = delivery / f"contact.{self._format}"
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2] if self._spoiled == "cut" else _without_last_line(content))
        section = settings(
            delivery,
            write_back=str(self._feedback),
            format={"kind": self._format},
            tables={name: {} for name in self._tables() if name != "report_visitors"},
        )
        return ADAPTER.open(section, crm_context(self._folder))

    def add_people(self, people: Sequence[Person]) -> None:
        self._people += people

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        self._members += members

    def add_consents(self, consents: Sequence[Consent]) -> None:
        self._consents |= {(str(consent.person.entity), consent.opt_in_id): consent for consent in consents}

    def set_report(self, rows: Sequence[tuple[str, int]]) -> None:
        self._visits = list(rows)

    def remove_consent(self, consent: Consent) -> None:
        del self._consents[str(consent.person.entity), consent.opt_in_id]

    def withdrawn(self) -> Collection[tuple[str, str]]:
        delivered = [key for key, consent in self._consents.items() if consent.kind == "withdrawn"]
        rows = self._written("withdrawals")
        return [*delivered, *((f"{row['entity_type']}:{row['entity_id']}", row["opt_in_id"]) for row in rows)]

    def bounced(self) -> Mapping[str, str]:
        return {row["address"]: row["bounce_kind"] for row in self._written("bounces")}

    @contextmanager
    def _spoiling(self, how: str) -> Iterator[None]:
        self._spoiled = how
        yield
        self._spoiled = None

    def losing_rows(self) -> AbstractContextManager[object]:
        return self._spoiling("lost")

    def unreachable(self) -> AbstractContextManager[object]:
        return self._spoiling("gone")

    def cut(self) -> AbstractContextManager[object]:
        return self._spoiling("cut")

    @contextmanager
    def refusing_writes(self, entities: Collection[Entity] = ()) -> Iterator[None]:
        self._feedback.rmdir()
        self._feedback.touch()
        yield
        self._feedback.unlink()
        self._feedback.mkdir()

    def _written(self, kind: str) -> list[dict[str, str]]:
        files = sorted(self._feedback.glob(f"{kind}_*.csv"))
        return [row for file in files for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))]

    def _deliver(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        delivery = Delivery(folder, datetime.now(UTC))
        for name, table in self._tables().items():
            content = encode(table) if self._format == "csv" else _parquet(table)
            delivery.files[f"{name}.{self._format}"] = (content, len(table) - 1)
        delivery.write()

    def _tables(self) -> dict[str, Table]:
        people = {
            kind.value: [
                ["id", "email", *COLUMNS],
                *(
                    [person.entity.entity_id, person.email or "", person.first_name or "", person.city or ""]
                    for person in self._people
                    if person.entity.entity_type is kind
                ),
            ]
            for kind in EntityType
        }
        states = [
            [*key[0].split(":", 1), key[1], consent.kind, consent.at.isoformat() if consent.at else ""]
            for key, consent in self._consents.items()
        ]
        return {
            **people,
            "opt_in": [
                ["opt_in_id", "mandator", "description", "media_type"],
                *([opt_in.opt_in_id, opt_in.mandator, opt_in.description, opt_in.media_type] for opt_in in OPT_INS),
            ],
            "consent_state": [_STATE, *states],
            "address_state": [["address", "bounce_kind", "bounced_at"]],
            "marketing_list": [["id", "name", "kind"], ["all", EVERYBODY.name, "static"]],
            "marketing_list_member": [
                ["marketing_list_id", "entity_type", "entity_id"],
                *(["all", *member] for member in self._members),
            ],
            "report": [["id", "name", "entity_type", "view_name"], ["v", VISITORS.name, "contact", "visitors"]],
            "report_visitors": [["entity_id", REPORT_COLUMN], *([name, str(visits)] for name, visits in self._visits)],
        }


def _without_last_line(content: bytes) -> bytes:
    return content[: content.rstrip(b"\r\n").rfind(b"\n") + 1]


def _parquet(table: Table) -> bytes:
    header, *rows = table
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(header)), buffer)
    return buffer.getvalue()

"""A population in files that a CRM delivers every day, and the files that it gets back."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm_forms.population import Columns, Consent, Population

_STATES = ("address", "opt_in_id", "kind", "changed_at")


class DeliveredFiles:
    """A folder with a complete delivery, and one for what comes back. Consents are states of addresses."""

    def __init__(self, folder: Path, opt_in_id: str, mandator: str, **settings: Any) -> None:
        self._deliveries, self._returned = folder / "export", folder / "import"
        for place in (self._deliveries, self._returned):
            place.mkdir(parents=True)
        self._opt_in_id = opt_in_id
        self._population = Population({}, {})
        self.settings: dict[str, Any] = {
            "adapter": "files",
            "url": str(self._deliveries),
            "write_back": str(self._returned),
            "format": {"delimiter": ";"},
            "opt_ins": {opt_in_id: {"mandator": mandator, "description": "Newsletter"}},
            "tables": {
                name: {}
                for name in (
                    *("contact", "lead", "account", "consent_state"),
                    *("address_state", "marketing_list", "marketing_list_member"),
                )
            },
            **settings,
        }

    def store(self, population: Population) -> None:
        """Keep a population, and deliver it."""
        self._population = Population(
            dict(population.records),
            {name: list(members) for name, members in population.members.items()},
            dict(population.consents),
            dict(population.bounced),
        )
        self.deliver()

    def deliver(self) -> None:
        """Write all files, and the manifest last."""
        population, contents = self._population, dict[str, tuple[int, bytes]]()
        for entity_type in EntityType:
            people = list(population.of_type(entity_type))
            names = list(people[0][1]) if people else ["email"]
            rows = [[key, *(columns[name] for name in names)] for key, columns in people]
            contents[f"{entity_type}.csv"] = _csv(["id", *names], rows)
        states = [
            [
                key,
                self._opt_in_id,
                "granted" if consent.granted else "withdrawn",
                _iso(consent.at),
            ]
            for key, consent in population.consents.items()
        ]
        contents["consent_state.csv"] = _csv(_STATES, states)
        bounces = [[key, "hard", at.isoformat()] for key, at in population.bounced.items()]
        contents["address_state.csv"] = _csv(("address", "bounce_kind", "bounced_at"), bounces)
        contents["marketing_list.csv"] = _csv(("id", "name"), [[name, name] for name in population.members])
        members = [
            [name, member.entity_type.value, member.entity_id]
            for name, of_list in population.members.items()
            for member in of_list
        ]
        contents["marketing_list_member.csv"] = _csv(("marketing_list_id", "entity_type", "entity_id"), members)
        for name, (_, data) in contents.items():
            (self._deliveries / name).write_bytes(data)
        manifest = {
            "delivered_at": datetime.now(UTC).isoformat(),
            "files": {
                name: {"rows": rows, "sha256": hashlib.sha256(data).hexdigest()}
                for name, (rows, data) in contents.items()
            },
        }
        (self._deliveries / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def opt_out(self, address: str) -> None:
        """Withdraw the consent of an address, without a date."""
        self._population.consents[address] = Consent(False, None)

    def grant(self, address: str, at: datetime) -> None:
        """Grant the consent of an address, with a date."""
        self._population.consents[address] = Consent(True, at)

    def grant_undated(self, address: str) -> None:
        """Grant the consent of an address, without a date."""
        self._population.consents[address] = Consent(True, None)

    def add(self, entity: Entity, columns: Columns, marketing_list: str, at: datetime) -> None:
        """Add a record with a dated consent to a marketing list."""
        self._population.records[entity] = columns
        self._population.members[marketing_list].append(entity)
        self._population.consents[address_key(columns["email"]) or ""] = Consent(True, at)

    def move(self, entity: Entity, email: str, at: datetime) -> None:
        """Give a record another address, and a dated consent for it."""
        self._population.records[entity] = {**self._population.records[entity], "email": email}
        self._population.consents[email] = Consent(True, at)

    def delete(self, entity: Entity) -> None:
        """Remove a record and its memberships."""
        del self._population.records[entity]
        for name, members in self._population.members.items():
            self._population.members[name] = [member for member in members if member != entity]

    def take(self) -> None:
        """Apply the files that came back, as the CRM's own import does."""
        for address in self.withdrawn():
            before = self._population.consents.get(address)
            self._population.consents[address] = replace(before or Consent(False, None), granted=False, at=None)

    def withdrawn(self) -> set[str]:
        """Return the addresses in the returned withdrawals."""
        return {address_key(row["email"]) or "" for row in self._rows("withdrawals_*.csv")}

    def bounced(self) -> set[str]:
        """Return the addresses in the returned bounces."""
        return {address_key(row["address"]) or "" for row in self._rows("bounces_*.csv")}

    def _rows(self, pattern: str) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        for path in sorted(self._returned.glob(pattern)):
            with path.open(encoding="utf-8", newline="") as file:
                rows += csv.DictReader(file, delimiter=";")
        return rows


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _csv(header: Sequence[str], rows: Sequence[Sequence[str | None]]) -> tuple[int, bytes]:
    """Return the number of rows, and the text of a file with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return len(rows), text.getvalue().encode()

"""An installation for benchmarks: one long list, and the sandbox in its own process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, insert, make_url, text

from campaign_sync.crm.sql import schema
from campaign_sync.domain.address import usable_address
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests import databases
from campaign_sync_tests.benchmarks.measured_run import peak_memory
from campaign_sync_tests.benchmarks.people import CITY, COMPANY, FIRST, LAST, STREET
from campaign_sync_tests.installation import ATTRIBUTES, ENVIRONMENT, LONG_AGO, NEWSLETTER, NORD, Installation

_FURTHER = {
    "Straße": "street",
    "PLZ": "postal_code",
    "Land": "country",
    "Sprache": "language",
    "Firma": "company",
    "Anrede": "salutation",
    "Kundennummer": "customer_number",
}
"""With the technical fields and three names: 15 attributes, each from a column of its own."""

LIST_ATTRIBUTES = (*ATTRIBUTES, *_FURTHER)

_MORE_COLUMNS = ("street", "customer_number")
"""Columns of contacts that the contract's table doesn't have."""

_AT_ONCE = 10_000

_UNSET = ("DAGSTER_HOME", "PYTHONDONTWRITEBYTECODE")
"""Variables that measured modules don't get: an installation has its modules compiled."""


@dataclass(frozen=True)
class Sandbox:
    """The process of the sandbox."""

    process_id: int

    @property
    def cpu_seconds(self) -> float:
        """Its CPU seconds so far."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak(self) -> int:
        """Its peak memory, in bytes."""
        return peak_memory(self.process_id)


class MeasuredRig(Installation):
    """An installation whose sandbox process is measured as well, and processes that work on it."""

    sandbox: Sandbox

    @property
    def crm_argument(self) -> str:
        """The CRM, as the contestants' drivers take it: a path or a URL."""
        url = make_url(self.crm_url)
        is_file = url.drivername.startswith("sqlite")
        return str(url.database) if is_file else url.set(drivername="postgresql").render_as_string(False)

    def run_module(
        self, module: str, *arguments: str, interpreter: str = sys.executable
    ) -> tuple[float, float, dict[str, Any]]:
        """Return the seconds and CPU seconds of a module's process from its start on, and what it has written.

        Args:
            module: a module of `benchmarks`.
            arguments: its arguments after the file that it writes.
            interpreter: the Python that runs it; one of another environment finds the project's modules as well.
        """
        assert self.configuration  # writes the file
        environment = {key: value for key, value in os.environ.items() if key not in _UNSET} | ENVIRONMENT
        if interpreter != sys.executable:
            environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        file, begun = self.folder / "measured.json", time.monotonic()
        command = [interpreter, "-m", f"campaign_sync_tests.benchmarks.{module}", str(file), *arguments]
        with (self.folder / "run.txt").open("wb") as output:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        assert status == 0, (self.folder / "run.txt").read_text()
        return seconds, usage.ru_utime + usage.ru_stime, json.loads(file.read_text(encoding="ascii"))


@contextmanager
def installation(rows: int, database: str = "sqlite") -> Iterator[MeasuredRig]:
    """Set up one list with 15 attributes and `rows` people in the CRM; remove it at the end.

    Args:
        rows: how many people the list has.
        database: `sqlite` or `postgresql`, for the CRM and the product's state.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="campaign-sync-benchmark-")))
        vendor = stack.enter_context(closing(VendorState(folder / "vendor.db")))
        vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
        vendor.add_list(NORD, NEWSLETTER, "Newsletter", LIST_ATTRIBUTES)
        crm_url, state_url = (
            f"sqlite:///{folder / file}" if database == "sqlite" else stack.enter_context(databases.fresh_database())
            for file in ("crm.db", "state.db")
        )
        command = [sys.executable, "-m", "campaign_sync.sandbox", "--data", str(vendor.path)]
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.terminate)
        assert process.stdout is not None
        rig = MeasuredRig(folder, vendor, process.stdout.readline().strip(), crm_url, state_url)
        rig.sandbox = Sandbox(process.pid)
        rig.populate()
        rig.list_settings()["attributes"] |= _FURTHER
        with rig.crm() as crm:
            for name in _MORE_COLUMNS:
                crm.execute(text(f"ALTER TABLE contact ADD COLUMN {name} TEXT"))
        add_people(rig, range(rows))
        yield rig


def add_people(rig: Installation, numbers: range) -> None:
    """Add people to the CRM who are in the newsletter's list.

    Everybody has asked for the newsletter and confirmed it, but 3 % have withdrawn instead. Every third has consented
    to the products as well. 1 % have bounced, and 2 % have the address of another person.
    """
    with rig.crm() as crm:
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            crm.execute(
                text(f"INSERT INTO contact ({', '.join(_COLUMNS)}) VALUES ({', '.join(map(':{}'.format, _COLUMNS))})"),
                [dict(zip(_COLUMNS, _contact(number), strict=True)) for number in part],
            )
            member = {"marketing_list_id": "nord", "entity_type": "contact"}
            crm.execute(
                insert(schema.marketing_list_member), [{**member, "entity_id": f"n{number}"} for number in part]
            )
            crm.execute(insert(schema.consent_event), [event for number in part for event in _events(number)])
            _add_bounces(crm, [number for number in part if number % 100 == 50])
    with rig.crm() as crm:
        crm.execute(text("ANALYZE"))


_COLUMNS = (
    *("id", "email", "first_name", "last_name", "city", "street", "postal_code", "country", "language", "company"),
    *("salutation", "customer_number"),
)


def address_of(number: int) -> str:
    """Return a person's address, as the CRM spells it."""
    number -= number % 50 == 7
    domain = ("example.org", "example.com", "mail.example.net", "bäckerei.example")[number % 50 // 16]
    return f"{'Juergen' if number % 20 == 3 else 'juergen'}.gross.{number}@{domain}"


def _contact(number: int) -> tuple[str, ...]:
    last = LAST[number // 7 % len(LAST)] + (f"-{LAST[number // 3 % len(LAST)]}" if number % 4 == 1 else "")
    return (
        f"n{number}",
        address_of(number),
        FIRST[number * 7 % len(FIRST)],
        last,
        CITY[number // 11 % len(CITY)],
        f"{STREET[number // 13 % len(STREET)]} {number % 199 + 1}",
        f"{number * 7919 % 100_000:05}",
        ("DE", "AT", "CH", "FR")[number % 7 % 4],
        ("de", "de", "fr")[number % 3],
        COMPANY[number // 5 % len(COMPANY)],
        ("Frau", "Herr", "")[number % 3],
        f"K-{number:08}",
    )


def _events(number: int) -> Iterator[dict[str, object]]:
    asked = LONG_AGO - timedelta(seconds=number * 37 % 31_536_000)
    newsletter = ("granted", "withdrawn" if number % 100 < 3 else "confirmed")
    for opt_in_id, kinds in (("newsletter-nord", newsletter), ("products-nord", ("granted",) * (number % 3 == 0))):
        for step, kind in enumerate(kinds):
            yield {
                "id": f"{opt_in_id}-{number}-{step}",
                "entity_type": "contact",
                "entity_id": f"n{number}",
                "opt_in_id": opt_in_id,
                "kind": kind,
                "occurred_at": asked + step * timedelta(minutes=number % 600 + 1, microseconds=number % 1000),
                "source": "web form",
                "evidence": f"https://forms.example.org/double-opt-in/{number}",
            }


def _add_bounces(crm: Connection, numbers: Sequence[int]) -> None:
    if numbers:
        bounce = {
            "bounce_kind": "hard",
            "bounced_at": LONG_AGO,
            "mandator": "nord",
            "source": "optimizely:getOutBounces",
        }
        bounced = [{"address": usable_address(address_of(number)), **bounce} for number in numbers]
        crm.execute(insert(schema.address_state), bounced)

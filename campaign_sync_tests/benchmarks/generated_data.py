"""An installation for benchmarks: one long list, and the sandbox in its own process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from campaign_sync.crm.sql import schema
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.benchmarks.measured_run import peak_memory
from campaign_sync_tests.installation import ATTRIBUTES, ENVIRONMENT, LONG_AGO, NEWSLETTER, NORD, Installation

_FURTHER = {f"Feld {number}": "company" for number in range(1, 8)}
"""With the technical fields and three names: 15 attributes."""

_AT_ONCE = 10_000


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
    """An installation whose sandbox process is measured as well."""

    sandbox: Sandbox


@contextmanager
def installation(rows: int) -> Iterator[MeasuredRig]:
    """Set up one list with 15 attributes and `rows` people in the CRM; remove it at the end."""
    with (
        TemporaryDirectory(prefix="campaign-sync-benchmark-") as path,
        closing(VendorState(Path(path, "vendor.db"))) as vendor,
    ):
        folder = Path(path)
        vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
        vendor.add_list(NORD, NEWSLETTER, "Newsletter", [*ATTRIBUTES, *_FURTHER])
        command = [sys.executable, "-m", "campaign_sync.sandbox", "--data", str(vendor.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                base_url = process.stdout.readline().strip()
                crm_url, state_url = f"sqlite:///{folder / 'crm.db'}", f"sqlite:///{folder / 'state.db'}"
                rig = MeasuredRig(folder, vendor, base_url, crm_url, state_url)
                rig.sandbox = Sandbox(process.pid)
                rig.populate()
                rig.list_settings()["attributes"] |= _FURTHER
                add_people(rig, range(rows))
                yield rig
            finally:
                process.terminate()


def add_people(rig: Installation, numbers: range) -> None:
    """Add people to the CRM with a consent to the newsletter and membership in its list."""
    with rig.crm() as crm:
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            crm.execute(insert(schema.contact), [_contact(number) for number in part])
            member = {"marketing_list_id": "nord", "entity_type": "contact"}
            crm.execute(
                insert(schema.marketing_list_member), [{**member, "entity_id": f"n{number}"} for number in part]
            )
            crm.execute(insert(schema.consent_event), [_consent(number) for number in part])


def _contact(number: int) -> dict[str, str]:
    return {
        "id": f"n{number}",
        "email": f"juergen.gross.{number}@example.org",
        "first_name": "Jürgen",
        "last_name": "Groß-Öttinger",
        "city": "Köln am Rhein",
        "company": "Müller & Söhne",
    }


def _consent(number: int) -> dict[str, object]:
    return {
        "id": f"e{number}",
        "entity_type": "contact",
        "entity_id": f"n{number}",
        "opt_in_id": "newsletter-nord",
        "kind": "granted",
        "occurred_at": LONG_AGO,
        "source": "form",
    }

"""A world of many mandators and lists: CRM and state in PostgreSQL, the sandbox as a process, a configuration file."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy import Connection, create_engine, insert

from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.schema import create_crm
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync_tests.databases import fresh_database
from campaign_sync_tests.installation import ATTRIBUTES, ENVIRONMENT, LONG_AGO

PEOPLE = 36
"""People of each mandator; all its lists have all of them."""

_FIRST_NAMES = ("Änne", "Björn", "Çelik", "Dörte 💌", "Émile", 'Łukasz "Lu"')
_TIMEZONE = "Europe/Berlin"


@dataclass(frozen=True)
class World:
    """Where its parts are."""

    mandators: tuple[str, ...]
    lists: tuple[str, ...]
    databases: dict[str, str]
    """The URLs of the databases `state`, `dagster` and `crm`."""
    environment: dict[str, str]
    """What a process of the product needs."""


@contextmanager
def world(folder: Path, mandators: int, lists: int) -> Iterator[World]:
    """Make a world in a folder, with empty lists; remove its databases at the end."""
    with (
        fresh_database() as state,
        fresh_database() as dagster,
        fresh_database() as crm,
        closing(VendorState(folder / "vendor.db")) as vendor,
        _sandbox(vendor) as base_url,
    ):
        names = tuple(f"m{number:02}" for number in range(1, mandators + 1))
        list_names = tuple(f"list{number:02}" for number in range(1, lists + 1))
        for number, name in enumerate(names, start=1):
            vendor.add_mandator(number, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
            for position, list_name in enumerate(list_names):
                vendor.add_list(number, _list_id(number, position), f"{name} {list_name}", ATTRIBUTES)
        _populate(crm, names, list_names)
        settings = _settings(base_url, crm, state, folder)
        settings["mandators"] = {
            name: _mandator(number, name, list_names) for number, name in enumerate(names, start=1)
        }
        file = folder / "campaign_sync.yaml"
        file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        environment = {**ENVIRONMENT, "CAMPAIGN_SYNC_CONFIG": str(file)}
        yield World(names, list_names, {"state": state, "dagster": dagster, "crm": crm}, environment)


@contextmanager
def _sandbox(vendor: VendorState) -> Iterator[str]:
    command = [sys.executable, "-m", "campaign_sync.sandbox", "--data", str(vendor.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _list_id(mandator: int, position: int) -> int:
    return 100_000_000_000 + mandator * 1000 + position


def _opt_in(mandator: str, list_name: str) -> str:
    return f"{mandator}-{list_name}"


def _settings(base_url: str, crm: str, state: str, folder: Path) -> dict[str, Any]:
    return {
        "optimizely": {"base_url": base_url},
        "crm": {"url": crm},
        "storage": {"frames": str(folder / "frames"), "state_url": state, "crm_copies": str(folder / "crm_copies")},
        "telemetry": {"prometheus_file": str(folder / "campaign_sync.prom")},
    }


def _mandator(number: int, name: str, list_names: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of a mandator, whose schedule and deadline are half a day away."""
    hour = (datetime.now(ZoneInfo(_TIMEZONE)).hour + 12) % 24
    return {
        "mandator_id": number,
        "username": {"env": "USERNAME_OF_BOTH"},
        "password": {"env": "PASSWORD_OF_BOTH"},
        "timezone": _TIMEZONE,
        "schedule": f"{number % 60} {hour} * * *",
        "deadline": f"0 {(hour + 3) % 24} * * *",
        "lists": {
            list_name: {
                "recipient_list_id": _list_id(number, position),
                "kind": "regular",
                "opt_in_id": _opt_in(name, list_name),
                "select": {"marketing_list": _opt_in(name, list_name)},
                "attributes": {"Vorname": "first_name", "Nachname": "last_name", "Ort": "city"},
            }
            for position, list_name in enumerate(list_names)
        },
    }


def _populate(crm_url: str, names: tuple[str, ...], list_names: tuple[str, ...]) -> None:
    create_crm(crm_url)
    engine = create_engine(crm_url)
    with engine.begin() as connection:
        for name in names:
            _populate_mandator(connection, name, list_names)
    engine.dispose()


def _populate_mandator(connection: Connection, name: str, list_names: tuple[str, ...]) -> None:
    """Add the people of a mandator, members of all its lists with a consent to each."""
    people = [f"{name}-c{number}" for number in range(PEOPLE)]
    opt_ins = [_opt_in(name, list_name) for list_name in list_names]
    connection.execute(insert(schema.contact), [_contact(number, key) for number, key in enumerate(people)])
    connection.execute(
        insert(schema.opt_in),
        [{"opt_in_id": key, "mandator": name, "description": key, "media_type": "email"} for key in opt_ins],
    )
    connection.execute(
        insert(schema.marketing_list),
        [{"id": key, "name": key, "entity_type": "contact", "kind": "static"} for key in opt_ins],
    )
    person = {"entity_type": "contact"}
    members = [{**person, "marketing_list_id": key, "entity_id": who} for key in opt_ins for who in people]
    connection.execute(insert(schema.marketing_list_member), members)
    granted = {**person, "kind": "granted", "occurred_at": LONG_AGO, "source": "form"}
    consents = [
        {**granted, "id": f"{key}-{number}", "opt_in_id": key, "entity_id": who}
        for key in opt_ins
        for number, who in enumerate(people)
    ]
    connection.execute(insert(schema.consent_event), consents)


def _contact(number: int, key: str) -> dict[str, str]:
    name = _FIRST_NAMES[number % len(_FIRST_NAMES)]
    return {
        "id": key,
        "email": f"person.{key}@example.org",
        "first_name": name,
        "last_name": "O’Neill-Groß",
        "city": "Köln",
    }

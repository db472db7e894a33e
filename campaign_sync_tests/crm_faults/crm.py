"""A CRM behind a stand-in, as the people who work in it see it: no rule of the product is used."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from campaign_sync_tests.crm_faults.calls import Call

COLUMN, PURPOSE = "newsletter-nord", "events-nord"
"""The opt-ins: a column with a date of each record, and the CRM's own records of consents."""

CITIES = ("Köln", "Bonn", "Ürzig")

SECRET = "geheim"
"""A part of the name and the address of everybody, which may be in no message."""


@dataclass(frozen=True)
class Person:
    """A record of a person."""

    table: str
    key: str
    address: str
    """In lower case and without blanks; the CRM may have it otherwise."""


@dataclass(frozen=True)
class Shown:
    """What a record shows."""

    granted: Mapping[str, bool]
    """By opt-in."""
    at: Mapping[str, datetime | None]
    """Since when, by opt-in; None without a date."""
    no_mail: bool
    """Whether the person wants no mail at all."""
    bounced: bool


Fault = Callable[[random.Random, int], AbstractContextManager[object]]
"""Makes a fault for a day on which about this number of calls is made."""


class FaultyCrm(ABC):
    """A CRM with three lists, and with faults."""

    secrets: ClassVar[Mapping[str, str]]
    """The environment variables of the login."""
    tables: ClassVar[tuple[str, str]]
    """Those of contacts and leads."""
    places: ClassVar[tuple[str, ...]]
    """Where a person can withdraw."""
    regrants_purposes: ClassVar[bool]
    """Whether a consent of a purpose can be granted again by itself: it has a date."""
    settings: dict[str, Any]
    """The section `crm`."""
    opt_ins: ClassVar[Mapping[str, str]]
    """The opt-in of each list."""
    selections: ClassVar[Mapping[str, Mapping[str, str]]]
    """What each list selects."""
    stand_in: Any

    @abstractmethod
    def add(self, number: int, table: str, address: str, at: datetime) -> Person:
        """Add a person with both consents to the lists."""

    @abstractmethod
    def grant(self, person: Person, at: datetime) -> None:
        """Grant what can be granted again, and want mail again."""

    @abstractmethod
    def withdraw(self, person: Person, place: str, at: datetime) -> None:
        """Withdraw in one of the places."""

    @abstractmethod
    def remove(self, person: Person) -> None:
        """Delete a record."""

    @abstractmethod
    def shown(self, person: Person) -> Shown:
        """Return what a record shows now."""

    @abstractmethod
    def is_member(self, name: str, person: Person) -> bool:
        """Return whether a record belongs to a list."""

    @abstractmethod
    def is_later_page(self, call: Call) -> bool:
        """Return whether a call reads a page of a large table or job that isn't its first."""

    @abstractmethod
    def faults(self) -> dict[str, Fault]:
        """Return all faults by their names."""

    @abstractmethod
    def refusing(self, people: list[Person]) -> AbstractContextManager[object]:
        """Let the CRM refuse to change these records."""


def moment(text: str | None) -> datetime | None:
    """Return a time that a CRM shows."""
    return datetime.fromisoformat(text) if text else None

"""How the conformance tests change and read a CRM from its own side."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

import pytest

from campaign_sync.crm.port import Crm, CrmNeeds, Pick
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""The time of most consents in the tests."""

NEWS, OFFERS, PRESS = "News-Letter", "offers", "press"

OPT_INS: Final = (
    OptIn(NEWS, "nord", "Monthly newsletter", "email"),
    OptIn(OFFERS, "nord", "Special offers", "email"),
    OptIn(PRESS, "sued", "Press releases", "email"),
)
"""The opt-ins that the CRM, or its section of the configuration, defines from the start."""

EVERYBODY: Final = Pick("marketing_list", "Everybody")

VISITORS: Final = Pick("report", "Visitors")

COLUMNS: Final = ("first_name", "city")
"""The columns of records that the tests select, by the names that lists use."""

REPORT_COLUMN: Final = "visits"
"""The own column of the report."""

NEEDS: Final = CrmNeeds(frozenset({EVERYBODY, VISITORS}), frozenset({*COLUMNS, REPORT_COLUMN}))
"""What the tests ask of the CRM. For a CRM without reports leave `VISITORS` out."""


class Capability(Enum):
    """What a CRM has, or what a test can do to it, beyond the least."""

    REPORTS = auto()
    """It has reports: `set_report`."""
    EVENTS = auto()
    """It keeps consents as a history: `add_consents` appends. Without it there is one state for each consent."""
    DATES = auto()
    """Consents have a date of their own."""
    UNDATED = auto()
    """Consents can lack a date."""
    ANY_WORD = auto()
    """A consent's kind can be any word. A checkbox has none but two."""
    ANY_MEMBER = auto()
    """Lists can name records that don't exist, and types that are none of ours."""
    IDS_BY_CASE = auto()
    """Ids can differ in nothing but case."""
    REMOVABLE_CONSENTS = auto()
    """Consents can vanish: `remove_consent`."""
    LOSES_ROWS = auto()
    """The tests can lose rows on the way: `losing_rows`."""
    UNREACHABLE = auto()
    """The tests can make the CRM unreachable: `unreachable`."""
    CUT = auto()
    """The tests can cut a read after its first part: `cut`."""
    REFUSES_WRITES = auto()
    """The tests can let it refuse to change anything: `refusing_writes`."""
    REFUSES_SOME = auto()
    """It can refuse to change single records, and accept the others: `refusing_writes` of records."""


@dataclass(frozen=True)
class Person:
    """A record of the CRM."""

    entity: Entity
    email: str | None
    first_name: str | None = None
    city: str | None = None


@dataclass(frozen=True)
class Consent:
    """A consent event, or the state of a consent."""

    person: Person
    opt_in_id: str = NEWS
    kind: str = "granted"
    """`granted`, `withdrawn`, or with `ANY_WORD` any other word."""
    at: datetime | None = NOON
    """Used only with `DATES`. None, with `UNDATED`, for no date."""


class CrmUnderTest(ABC):
    """A CRM of its own for each test: empty but for `opt_ins`, the list `EVERYBODY` and the report `VISITORS`.

    Methods beside the abstract ones are called only if `capabilities` declare them.
    """

    capabilities: frozenset[Capability] = frozenset()
    entity_types: Sequence[EntityType] = tuple(EntityType)
    """The kinds of records that it has. Contacts are needed."""
    opt_ins: Sequence[OptIn] = OPT_INS
    """Those of `OPT_INS` that it can have. One that has a single consent for everything has the first alone."""
    by_address = False
    """Whether consents belong to addresses: one for all records with the same one."""
    largest_chunk = 100
    """The size of the adapter's largest part of a read (page, file, fetch), if it has parts; tests read more."""

    @abstractmethod
    def open(self) -> Crm:
        """Return the CRM as the product opens it. Each call reads the CRM as it is now, and with the same memory."""

    @abstractmethod
    def add_people(self, people: Sequence[Person]) -> None:
        """Add records, without consents."""

    @abstractmethod
    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        """Add members to the list `EVERYBODY`, as `entity_type` and `entity_id`."""

    @abstractmethod
    def add_consents(self, consents: Sequence[Consent]) -> None:
        """Append consent events, or set states."""

    @abstractmethod
    def withdrawn(self) -> Collection[tuple[str, str]]:
        """Return what the CRM itself shows as withdrawn.

        As `str(entity)`, or with `by_address` the normalized address, and the opt-in id; for every event, or state.
        """

    @abstractmethod
    def bounced(self) -> Mapping[str, str]:
        """Return the kinds of bounces that the CRM itself shows, by normalized address."""

    def set_report(self, rows: Sequence[tuple[str, int]]) -> None:
        """Let the report `VISITORS` yield these contacts, each with its `visits`. It can yield a contact repeatedly."""
        raise NotImplementedError

    def remove_consent(self, consent: Consent) -> None:
        """Remove what the CRM has of a consent."""
        raise NotImplementedError

    def losing_rows(self) -> AbstractContextManager[object]:
        """Lose some rows of the next reads, as if they weren't there, where the adapter receives them."""
        raise NotImplementedError

    def unreachable(self) -> AbstractContextManager[object]:
        """Let no connection succeed."""
        raise NotImplementedError

    def cut(self) -> AbstractContextManager[object]:
        """Cut the connection of the next reads after their first part."""
        raise NotImplementedError

    def refusing_writes(self, entities: Collection[Entity] = ()) -> AbstractContextManager[object]:
        """Let the CRM refuse to change consents: those of these records, or all if there are none."""
        raise NotImplementedError

    def require(self, *capabilities: Capability) -> None:
        """Skip the test unless the CRM has these capabilities."""
        for missing in [capability for capability in capabilities if capability not in self.capabilities]:
            pytest.skip(f"without {missing.name}")

    def require_opt_ins(self) -> None:
        """Skip the test unless the CRM has several opt-ins."""
        if len(self.opt_ins) < len(OPT_INS):
            pytest.skip("with one opt-in only")

    def set_up(self, people: Sequence[Person], *consents: Consent) -> None:
        """Add people, all of them members of the list, and consents."""
        self.add_people(people)
        self.add_members([(person.entity.entity_type.value, person.entity.entity_id) for person in people])
        self.add_consents(consents)

    def subject(self, person: Person) -> str:
        """Return whose consent it is, as in `withdrawn`."""
        return (person.email or "").strip().lower() if self.by_address else str(person.entity)

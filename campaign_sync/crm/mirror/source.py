"""The interface of a CRM that is copied: a source yields tables and takes feedback, and the mirror does the rest."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from campaign_sync.crm.port import CrmNeeds, Pick, RecordedResponses
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import BounceKind
from campaign_sync.domain.response import Response

EVENT_COLUMNS = ("id", "entity_type", "entity_id", "opt_in_id", "kind", "occurred_at", "source", "evidence")
"""The columns of consent events; `text_version` may follow."""

STATE_COLUMNS = ("entity_type", "entity_id", "address", "opt_in_id", "kind", "changed_at", "source", "evidence")
"""The columns of consent states; `text_version` may follow.

Either the entity or the address is given. `kind` is a word of the CRM. `changed_at` is the consent's own date or None.
An `opt_in_id` of None means every opt-in that the CRM defines.
"""

ADDRESS_STATE_COLUMNS = ("address", "bounce_kind", "bounced_at", "mandator", "source")

MEMBER_COLUMNS = ("entity_type", "entity_id")
"""The columns of a pick; a report's own columns may follow."""


@dataclass(frozen=True)
class SourceRows:
    """The rows of one table, as a source yields them. They can be read once."""

    columns: tuple[str, ...]
    chunks: Iterator[Sequence[Sequence[object]]]
    """Values are text, bytes (text that isn't UTF-8), numbers, truth values, dates, times or None."""
    expected: Callable[[], int]
    """Returns how many rows there are in all, by the source's own count; called after the last chunk."""
    entity_type: EntityType | None = None
    """Of a pick: the only type that members can have, so that the columns of an empty one are known; None for any."""


class SourceReader(Protocol):
    """One read of the CRM. Methods are called in the order of this class, so that consents are the newest.

    Every method raises CrmError if the table can't be read completely.
    """

    as_of: datetime
    """The moment that the data show, or the oldest of them: the begin of the read, or when files were delivered."""

    def pick(self, pick: Pick) -> SourceRows:
        """Return everybody in a pick: `MEMBER_COLUMNS`, then a report's own columns. Filters are never asked for."""

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return all records of a type: `id`, `email`, and every further column that lists may name."""

    def opt_ins(self) -> Sequence[OptIn]:
        """Return the opt-ins that the CRM defines; those of the configuration are added by the caller."""

    def consent_events(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consent history (`EVENT_COLUMNS`); None for a CRM without any.

        Args:
            opt_in_ids: the opt-ins whose events are needed; all if None. Further ones may come and are left out.
        """

    def consent_states(self, opt_in_ids: Collection[str] | None) -> SourceRows | None:
        """Return the consent states (`STATE_COLUMNS`); None for a CRM without any.

        Args:
            opt_in_ids: the opt-ins whose states are needed; all if None. Further ones may come and are left out, except
                those for every opt-in.
        """

    def address_states(self) -> SourceRows:
        """Return the bounces (`ADDRESS_STATE_COLUMNS`)."""


@dataclass(frozen=True)
class Withdrawal:
    """A withdrawal to write to the CRM."""

    event_id: str
    """A UUID that is always the same for the same withdrawal: the external id where the CRM takes one."""
    entity: Entity
    email: str | None
    """The entity's address as the CRM spells it; None if it has none."""
    opt_in_id: str
    """As the CRM spells it."""
    mandator: str
    occurred_at: datetime
    source: str
    evidence: str


@dataclass(frozen=True)
class BounceMark:
    """A bounced address to write to the CRM."""

    event_id: str
    """A UUID that is always the same for the same bounce."""
    address: str
    """Normalized."""
    holders: tuple[tuple[Entity, str], ...]
    """The records with this address, each with it as the CRM spells it."""
    kind: BounceKind
    occurred_at: datetime
    mandator: str
    source: str


class Source(Protocol):
    """A CRM that is copied. An adapter implements it and opens a `MirrorCrm` on it."""

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless the CRM can be reached and everything configured exists. Names all flaws at once."""

    def limits_left(self) -> str | None:
        """Return what the CRM still takes from its user, such as calls of its API. See `Crm.limits_left`."""
        return None

    def version(self) -> str | None:
        """Return what changes with the data, if the source knows it without reading them: which delivery it is.

        People and picks of the same version aren't read again. None where only their age decides.
        """
        return None

    def read(self, needs: CrmNeeds) -> AbstractContextManager[SourceReader]:
        """Open one read."""

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals, and yield, part by part, those that the CRM has now. What it refused isn't yielded.

        A repetition changes nothing, and a withdrawal is never written over a newer grant: what the CRM keeps for
        that reason counts as yielded.

        Raises:
            CrmError: the CRM can't be reached, or refuses everything.
        """

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces in the same way. A newer bounce replaces an older one, a soft one never a final one."""

    def takes_responses(self) -> bool:
        """Return whether the CRM takes opens, clicks and other responses."""
        return False

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append responses. See `Crm.record_responses`. Called only if `takes_responses` says so."""
        return RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        """Return when the CRM last finished an export. See `Crm.last_export`."""

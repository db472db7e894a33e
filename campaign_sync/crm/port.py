"""The interface of a CRM. An adapter implements `Crm`; nothing else in the product depends on which one it is."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import pandas as pd

from campaign_sync.domain.consent import ConsentEvent, ConsentEventCounts, OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import Bounce, CrmEntry, Unsubscribe
from campaign_sync.domain.filter import Condition
from campaign_sync.domain.message import Message
from campaign_sync.domain.response import Response
from campaign_sync.errors import CampaignSyncError

SELECTION_COLUMNS = (
    "entity_type",
    "entity_id",
    "email",
    "consent_event_id",
    "consent_kind",
    "consent_at",
    "consent_source",
    "consent_evidence",
    "consent_text_version",
)
"""What every selected row carries, before the columns that the list's attributes ask for."""

CONSENTING_COLUMNS = ("entity_type", "entity_id", "email", "consent_at")
"""Columns of `CrmSnapshot.consenting`, as in a selection."""


@dataclass(frozen=True)
class Pick:
    """What determines who belongs into a list, or is excluded from it."""

    kind: Literal["marketing_list", "report", "query", "filter"]
    name: str
    """The name of a marketing list or report in the CRM; the text of a query; the fields of a filter."""
    entity_type: EntityType | None = None
    """Whom a query or filter is about."""
    condition: Condition | None = None
    """What a filter demands."""

    @property
    def title(self) -> str:
        """Kind and name, for people to read. Values that a filter or query compares with aren't named."""
        if self.kind == "filter":
            return Message("filter of {entity_type}s by {name}", entity_type=str(self.entity_type), name=self.name)
        if self.kind == "query":
            return Message("query of {entity_type}s", entity_type=str(self.entity_type))
        if self.kind == "report":
            return Message("report “{name}”", name=self.name)
        return Message("marketing list “{name}”", name=self.name)


@dataclass(frozen=True)
class CrmNeeds:
    """What the configured lists ask of the CRM."""

    picks: frozenset[Pick] = frozenset()
    """All selections and exclusions."""
    columns: frozenset[str] = frozenset()
    """All columns that attributes and filters name."""


@dataclass(frozen=True)
class WriteBack:
    """The result of writing feedback into the CRM. Feedback that was written once is `already_known` ever after."""

    written: int
    already_known: int
    unmatched: tuple[str, ...] = ()
    """Recipient ids for which the CRM has nothing to change, or didn't accept the change."""
    refused: tuple[CrmEntry, ...] = ()
    """The entries that the CRM didn't accept; their recipient ids are in `unmatched` as well. They are repeated by the
    next import."""


@dataclass(frozen=True)
class RecordedResponses:
    """The result of writing responses into the CRM. Each response counts once, in the first field that applies."""

    written: int = 0
    already_known: int = 0
    without_campaign: int = 0
    """Responses to mailings for which the CRM has no campaign."""
    unknown_recipient: int = 0
    """Responses of recipients that can't be identified, or that the CRM doesn't have any more."""

    def __add__(self, other: "RecordedResponses") -> "RecordedResponses":
        return RecordedResponses(
            self.written + other.written,
            self.already_known + other.already_known,
            self.without_campaign + other.without_campaign,
            self.unknown_recipient + other.unknown_recipient,
        )


OnWritten = Callable[[Sequence[CrmEntry]], None]
"""Receives entries as soon as the CRM has committed them."""


def ignore_written(_: Sequence[CrmEntry]) -> None:
    """Do nothing: the `OnWritten` of callers that need no report."""


@dataclass(frozen=True)
class CopyTimes:
    """The moments that a copy of the CRM shows, UTC."""

    people: datetime
    """That of people, marketing lists and reports."""
    consents: datetime
    """That of consents and bounces."""


class CrmSnapshot(Protocol):
    """The CRM as it was at one moment; everything read from it agrees with everything else."""

    @property
    def copy_times(self) -> CopyTimes | None:
        """The moments that are shown by a copy or a delivery; None where the CRM itself is read."""

    def opt_in(self, opt_in_id: str) -> OptIn | None:
        """Return the definition of an opt-in; None where the CRM has none.

        Raises:
            CrmError: several opt-ins have this id in different spellings.
        """

    def opt_in_ids(self, mandator: str) -> frozenset[str]:
        """Return the opt-ins of a mandator, as the CRM spells them."""

    def records(self, entities: Collection[Entity]) -> dict[Entity, Entity]:
        """Return the CRM's spelling of these records; missing ones are absent. Case matters."""

    def select(
        self, pick: Pick, opt_in_id: str, columns: Sequence[str], *, chunk_rows: int = 20_000
    ) -> Iterator[pd.DataFrame]:
        """Return all people of a pick, whether they consented or not, each with the consent event that decides now.

        Frames of at most `chunk_rows` rows: `SELECTION_COLUMNS`, then `columns`. All columns hold text or None (other
        values as `domain.text.vendor_text` writes them), except `consent_at` (`datetime64[us, UTC]`). The consent
        columns are None for a person without any consent event for `opt_in_id`; `consent_text_version` is None
        for everybody where the CRM doesn't keep it. Each entity comes once, in a stable order. `entity_type` is no
        `domain.entity.EntityType` for members of a list that are of no such type. For filters
        `domain.filter_columns.UNREADABLE` follows.

        Raises:
            CrmError: the CRM has no such pick, a column is missing, or a key isn't text in UTF-8.
        """

    def members(self, pick: Pick) -> Iterator[Sequence[tuple[Entity, str | None]]]:
        """Yield everybody in a pick, each with the address as the CRM spells it, in chunks.

        Members without a valid entity type are left out; records that might be in a filter if a text were UTF-8 aren't.

        Raises:
            CrmError: the CRM has no such pick, or it can't be read completely.
        """

    def suppression(self, mandator: str) -> pd.DataFrame:
        """Return every bounced address and every withdrawn or unclear consent for this mandator's opt-ins.

        Columns `domain.suppression.SUPPRESSION_COLUMNS`; addresses are normalized. Bounces name no entity. Withdrawals
        name one, and its address where that is usable; so do consent events that can't be understood, for everybody
        whom they may be about.
        """

    def consent_rows(self, opt_in_id: str) -> ConsentEventCounts:
        """Return how many consent events are, or may be, about this opt-in, and how well they are understood.

        Raises:
            CrmError: the CRM has no such opt-in.
        """

    def newest_consent_change(self, opt_in_id: str) -> datetime | None:
        """Return the time of the newest event for this opt-in that can't be from us; None if there is none.

        That is a grant, or an event whose source is known and not the vendor. Future times don't count. Nor do states
        that are withdrawn: any of them can be from us.
        """

    def consenting(self, opt_in_id: str, among: pd.DataFrame | None = None) -> Iterator[pd.DataFrame]:
        """Return everybody with an address whose consent for this opt-in is granted now, by the rule of `select`.

        Frames of some thousand people with `CONSENTING_COLUMNS`: the address as the CRM spells it, and the time of the
        consent that decides (`datetime64[us, UTC]`). None of them is missing.

        Args:
            opt_in_id: the opt-in.
            among: columns `entity_type` and `entity_id` of the records that matter. Others may come as well, and where
                reading all is cheaper they do. None for all.
        """

    def entities_with(self, address: str) -> list[Entity]:
        """Return everybody with this address in any spelling; contacts before leads before accounts."""

    def email(self, entity: Entity) -> str | None:
        """Return an entity's address as the CRM spells it, empty if it has none; None if there is no such entity."""

    def emails(self, entities: Collection[Entity]) -> dict[Entity, str]:
        """Return the result of `email` for each of these entities; those that the CRM doesn't have are absent."""

    def consents(self, entity: Entity) -> dict[str, list[ConsentEvent]]:
        """Return an entity's consent events by opt-in, oldest first, as understood; also of a deleted entity."""


class Crm(Protocol):
    """A CRM that holds people, consents and address states."""

    def check(self, *, exports: bool = False) -> None:
        """Raise an error unless the CRM can be reached and fulfils the contract.

        Args:
            exports: whether it must list its finished exports as well.

        Raises:
            CrmError: it can't be reached.
            CrmError: tables or columns are missing (the message names all of them).
        """

    def limits_left(self) -> str | None:
        """Return what the CRM still takes from its user, such as calls of its API, for a person. None if it has none.

        Raises:
            CrmError: it can't be reached.
        """

    def snapshot(self, opt_in_ids: Collection[str] | None = None) -> AbstractContextManager[CrmSnapshot]:
        """Open one read-only view that lasts as long as the context.

        Args:
            opt_in_ids: the opt-ins whose consents are needed, for adapters that read them over a network; all if left
                out.
        """

    def record_bounces(self, bounces: Sequence[Bounce], on_written: OnWritten = ignore_written) -> WriteBack:
        """Mark the addresses as bounced, for all mandators. A newer bounce replaces an older one; never the reverse.

        A final bounce is never replaced by a soft one: it ends when the address changes or the CRM resets it. A bounce
        that isn't `dated` replaces none of its precedence. Addresses that no record of the CRM has are returned as
        unmatched and not written.

        Written in chunks, each in one transaction; after each, `on_written` receives its entries.
        """

    def record_unsubscribes(
        self, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten = ignore_written
    ) -> WriteBack:
        """Append a withdrawal for every consent that an unsubscribe is about.

        `domain.withdrawn_consents` has the rule, and every adapter applies it.

        A withdrawal carries the time of the
        unsubscribe, so a consent granted again later stays granted. Addresses without anything to withdraw are returned
        as unmatched.

        Written in chunks, each in one transaction; after each, `on_written` receives its entries.
        """

    def takes_responses(self) -> bool:
        """Return whether the CRM has tables for opens, clicks and other responses, which are optional."""

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append the responses of people and campaigns that the CRM has. A repeated call writes nothing twice.

        Written in chunks, each in one transaction. Call it only if `takes_responses`.
        """

    def last_export(self, name: str) -> datetime | None:
        """Return when the CRM last finished its export of this name; None if never. Future times don't count.

        Raises:
            CrmError: it can't be reached, or lists no exports.
        """


class CrmError(CampaignSyncError):
    """The CRM can't do what was requested. The message names the place and the remedy, and no personal data.

    It may pass by itself: the CRM can't be reached or is busy, or a load
    that changes tables, columns and rows is under way.
    """

    retryable = True


class CrmSetupError(CrmError):
    """The login is refused, the URL can't be used, or a statement has a syntax error.

    The same work fails again until a person corrects it.
    """

    retryable = False

"""What is known of one person in all lists, at a moment that was asked for and now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from campaign_sync.domain.consent import ConsentEvent, current_consent
from campaign_sync.domain.feedback import Attribution
from campaign_sync.domain.membership import MembershipExplanation, Rejection
from campaign_sync.domain.suppression_reasons import SuppressionReason
from campaign_sync.inquiry.list_archive import SentRow
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.crm_write_backs import WriteBackRecord
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.replacement_history import ProvenList

_NO_REJECTIONS = MembershipExplanation(None, (), ())


@dataclass(frozen=True, kw_only=True)
class ListState:
    """One list as its newest proof until one moment shows it."""

    proven: ProvenList | None
    cleared_at: datetime | None
    """When the list was last cleared after that proof, without a further proof until the moment."""
    rows: Mapping[str, SentRow] = field(default_factory=dict)
    """Rows of the snapshot about the people asked for, by `entity_type:entity_id`."""
    unreadable: str | None = None
    """Why the snapshot can't be read."""


@dataclass(frozen=True)
class ListMembership:
    """One person in one list at one moment."""

    list: ListState
    row: SentRow | None
    """The person's row of the snapshot."""
    rejections: MembershipExplanation
    """The person's rejections, sorted by the proof."""

    @property
    def in_list(self) -> bool | None:
        """Whether the person was in the list; None if that is unknown."""
        doubtful = self.row is not None and self.row.doubtful
        if self.list.proven is None or self.list.cleared_at or self.list.unreadable or doubtful:
            return None
        return self.row is not None and self.row.in_list

    @property
    def reason(self) -> Rejection | None:
        """Why the person wasn't in the list; None if they were, if that is unknown, or if they weren't selected."""
        return self.rejections.reason if self.in_list is False else None

    @property
    def consent(self) -> ConsentEvent | None:
        """The consent that allowed their row; None if they weren't in the list."""
        return self.row.consent if self.row and (self.row.in_list or self.row.doubtful) else None

    @property
    def known(self) -> bool:
        """Whether snapshot or rejections have the person."""
        return self.row is not None or self.rejections != _NO_REJECTIONS


@dataclass(frozen=True)
class EventOrigin:
    """The feedback that led to a withdrawal which we wrote to the CRM."""

    file: str | None
    """The file or reader response with the feedback row; None if it isn't known any more."""
    row: int | None
    """Position of the row, from 0; None if it was never known."""
    attribution: Attribution | None
    """How the row was attributed to this consent."""


@dataclass(frozen=True, kw_only=True)
class PersonListReport:
    """One person and one list."""

    settings: ListSettings
    zone: ZoneInfo
    moment: datetime
    """The moment asked for."""
    then: ListMembership
    """At that moment."""
    now: ListMembership
    events: Sequence[ConsentEvent]
    """All events of the person's consent to this list's opt-in that the CRM has now."""
    suppression_reasons: Sequence[SuppressionReason]
    """Why a run of now would keep the person out."""
    sent_address_reasons: Sequence[SuppressionReason]
    """The same for the address that was sent to, which may not be the person's any more."""
    origins: Mapping[str, EventOrigin]
    """By ids of consent events: the feedback that led to those that we wrote."""
    reset_bounces: Sequence[WriteBackRecord]
    """Bounces of the address that was sent to, which we wrote to the CRM and which the CRM has reset since."""
    awaited_plan: StoredPlan | None
    """The plan whose approval the list waits for."""

    @property
    def consent(self) -> ConsentEvent | None:
        """The event in the CRM that decides now."""
        return current_consent(self.events)

    @property
    def consent_then(self) -> ConsentEvent | None:
        """The event that decided at the proof, or at the moment asked for if there was none, by the CRM of now."""
        until = self.then.list.proven.proven_at if self.then.list.proven else self.moment
        return current_consent(event for event in self.events if event.occurred_at <= until)

    @property
    def known(self) -> bool:
        """Whether the CRM's consents, a snapshot or the rejections have the person."""
        return bool(self.events) or self.then.known or self.now.known


@dataclass(frozen=True)
class PersonReport:
    """One person and the lists asked for."""

    key: str | None
    """`entity_type:entity_id`; None for an address that no record of the CRM has."""
    email: str | None
    """As the CRM spells it, empty if it has none; None if the CRM doesn't have the person."""
    lists: Sequence[PersonListReport]
    last_sent: ProvenList | None = None
    """The last list they were sent to, if no current list has them any more."""

    @property
    def known(self) -> bool:
        """Whether the CRM, a snapshot or the rejections have the person."""
        return self.email is not None or any(entry.known for entry in self.lists)

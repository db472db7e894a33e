"""On which consent somebody was in which list on one day, and how that is told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent, ConsentKind, current_consent, decisiveness
from campaign_sync.domain.membership import Rejection
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression_reasons import SuppressionReason
from campaign_sync.inquiry.sections import (
    Line,
    LocalTime,
    Section,
    not_picked_told,
    objection_told,
    print_sections,
    rejection_told,
    when_told,
)
from campaign_sync.inquiry.sources import Sent
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.crm_write_backs import WriteBackRecord
from campaign_sync.storage.replacement_history import ProvenList


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One person in one list, by the proof that was in force at one moment."""

    proven: ProvenList | None = None
    """The newest proof until then."""
    cleared: datetime | None = None
    """When the list was cleared after that proof, and hadn't come to another one."""
    sent: Sent | None = None
    unreadable: str | None = None
    """Why the snapshot can't be read."""
    reason: Rejection | None = None
    """Why the person isn't in the list; None if they are, or if nobody picked them."""

    @property
    def in_list(self) -> bool | None:
        """Whether the person was in the list; None where nobody knows."""
        if self.proven is None or self.cleared or self.unreadable or (self.sent and self.sent.doubtful):
            return None
        return self.sent is not None and self.sent.in_list

    @property
    def stands_on(self) -> ConsentEvent | None:
        """The consent their row stands on; None where they weren't in the list."""
        return self.sent.consent if self.sent and (self.sent.in_list or self.sent.doubtful) else None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One person and one list."""

    target: ListSettings
    zone: ZoneInfo
    moment: datetime
    """The end of the day asked for."""
    then: Standing
    now: Standing
    events: Sequence[ConsentEvent]
    """What ever happened to their consent for this list's opt-in, as the CRM tells it now."""
    suppression_reasons: Sequence[SuppressionReason]
    """What stands against the address of that day, and the person, by now."""

    origins: Mapping[str, str]
    """By the ids of events that we wrote: which row of the vendor's feedback they came from, and how they were
    attributed to this consent."""
    resets: Sequence[WriteBackRecord]
    """Bounces of the address of that day that we wrote to the CRM, and that somebody has taken out of it."""

    @property
    def anything(self) -> bool:
        """Whether list, ledger or CRM has anything of this person."""
        return bool(self.events or self.then.sent or self.now.sent or self.then.reason or self.now.reason)


@dataclass(frozen=True)
class Person:
    """Who was asked for, and every list."""

    key: str
    email: str | None
    """As the CRM spells it; None where the CRM doesn't have the person."""
    lists: Sequence[Evidence]


def print_evidence(people: Iterable[Person], day: date | None, console: Console) -> None:
    """Tell on what some people were written to. This shows addresses: only for who asked for these very people."""
    for person in people:
        email = "not in the CRM any more" if person.email is None else person.email.strip() or "no address"
        console.print(Text(f"{person.key} · {email}", "bold"))
        console.print(Text(f"Consents and lists at the end of {day}" if day else "Consents and lists as of now"))
        print_sections(
            (
                Section(each.target, each.zone, each.then.in_list, _lines(person, each, LocalTime(each.zone)))
                for each in person.lists
            ),
            console,
            sign="in it then" if day else "in it",
        )


def _lines(person: Person, evidence: Evidence, moment: LocalTime) -> Iterator[Line]:
    then = evidence.then
    yield from _doubts(evidence, moment)
    if then.in_list is False:
        yield "why", _why_not(then, evidence, moment)
    if then.sent and then.stands_on:
        yield "address", then.sent.address
    yield from _consent(evidence, moment)
    yield from _proof(evidence, moment)
    yield from (("since", text) for text in _since(person, evidence, moment))
    yield "now", _now(evidence, moment)


def _why_not(standing: Standing, evidence: Evidence, moment: LocalTime) -> str:
    return rejection_told(standing.reason, moment) if standing.reason else not_picked_told(evidence.target)


def _doubts(evidence: Evidence, moment: LocalTime) -> Iterator[Line]:
    then = evidence.then
    if then.unreadable:
        yield "beware", f"nobody can tell: {then.unreadable}"
    if then.cleared:
        yield "beware", f"INCOMPLETE since {moment(then.cleared)}: it was cleared, and no proof followed by then"
    if then.sent and then.sent.doubtful:
        yield (
            "beware",
            "the row was turned away before and after that proof; the ledger doesn't tell about it",
        )


def _consent(evidence: Evidence, moment: LocalTime) -> Iterator[Line]:
    sent, stood_on = evidence.then.sent, evidence.then.stands_on
    if sent is None or stood_on is None:
        decided = _decided(evidence)
        if decided:
            because = _because(evidence, decided)
            yield "consent", f"{_headline(decided, moment)}{_source(decided)}{because}, as the CRM tells it now"
        elif evidence.events:
            yield "consent", f"none yet for {evidence.target.schema.opt_in_id}, as the CRM tells it now"
        else:
            yield "consent", f"none for {evidence.target.schema.opt_in_id} in the CRM"
        return
    in_crm = next((event for event in evidence.events if event.event_id == stood_on.event_id), None)
    if sent.evidence_kept:
        yield from _event("consent", stood_on, moment, "as frozen in the snapshot")
    elif in_crm:
        yield from _event("consent", in_crm, moment, "from the CRM; this snapshot doesn't keep evidence yet")
    else:
        yield "consent", _headline(stood_on, moment)
        yield "", "this snapshot doesn't keep source and evidence yet, and the CRM doesn't have the event any more"
    if in_crm is None and sent.evidence_kept:
        yield "beware", "the CRM doesn't have this event any more; the snapshot is what proves it"
    elif in_crm and (in_crm.kind, in_crm.occurred_at) != (stood_on.kind, stood_on.occurred_at):
        yield "beware", f"the CRM has this event otherwise by now: {_headline(in_crm, moment)}"
    granted = _confirmed_by(stood_on, evidence.events)
    if granted:
        yield from _event("confirms", granted, moment, "from the CRM")


def _event(label: str, event: ConsentEvent, moment: LocalTime, origin: str) -> Iterator[Line]:
    """One consent event, line by line, with what is recorded of it and what isn't."""
    yield label, f"{_headline(event, moment)} ({origin})"
    yield "", f"source: {event.source or 'not recorded'}"
    yield "", f"evidence: {event.evidence or 'not recorded'}"
    yield "", f"text version: {event.text_version or 'not recorded'}"


def _headline(event: ConsentEvent, moment: LocalTime) -> str:
    return f"{event.kind.value} {moment(event.occurred_at)}, event {event.event_id}"


def _source(event: ConsentEvent) -> str:
    return f" ({event.source})" if event.source else ""


def _because(evidence: Evidence, event: ConsentEvent) -> str:
    origin = evidence.origins.get(event.event_id)
    return f", {origin}" if origin else ""


def _decided(evidence: Evidence) -> ConsentEvent | None:
    """The event that decided at the proof, or at the end of the day where there was none, by what the CRM says now."""
    until = evidence.then.proven.proven_at if evidence.then.proven else evidence.moment
    return current_consent(event for event in evidence.events if event.occurred_at <= until)


def _confirmed_by(event: ConsentEvent, events: Sequence[ConsentEvent]) -> ConsentEvent | None:
    """What a confirmation confirmed: the grant right before it."""
    earlier = current_consent(each for each in events if decisiveness(each) < decisiveness(event))
    confirms = event.kind is ConsentKind.CONFIRMED and earlier and earlier.kind is ConsentKind.GRANTED
    return earlier if confirms else None


def _proof(evidence: Evidence, moment: LocalTime) -> Iterator[Line]:
    proven = evidence.then.proven
    if proven is None:
        yield "proven", "never by then"
        return
    yield "proven", moment(proven.proven_at)
    if proven.since and _day(proven.proven_at, evidence.zone) == _day(evidence.moment, evidence.zone):
        yield "", f"earlier on that day the proof of {moment(proven.since)} counted"
    yield "snapshot", f"{proven.snapshot_id}, frozen {moment(proven.frozen_at)}"
    yield "file", proven.file
    yield "sha256", proven.digest


def _since(person: Person, evidence: Evidence, moment: LocalTime) -> Iterator[str]:
    then = evidence.then
    base = then.stands_on or _decided(evidence)
    for event in evidence.events:
        if base and decisiveness(event) <= decisiveness(base):
            continue
        late = then.proven is not None and event.occurred_at <= then.proven.frozen_at
        note = "; it bears an earlier date and came to the CRM after this selection" if late else ""
        yield f"{_headline(event, moment)}{_source(event)}{_because(evidence, event)}{note}"
    for objection in evidence.suppression_reasons:
        if objection.reason is Reason.BOUNCED:
            yield f"the address bounced{when_told(objection, moment)} and gets into no list"
        elif objection.whose != person.key or objection.reason is Reason.CONSENT_UNCLEAR:  # withdrawals are events
            yield objection_told(objection, person.key, evidence.target.schema.opt_in_id, moment)
    for bounce in evidence.resets:
        yield f"the address bounced {moment(bounce.occurred_at)} ({bounce.source}), which the CRM has reset since"
    address = then.sent.address if then.sent else None
    if person.email is not None and address and address != address_key(person.email):
        yield f"their address in the CRM isn't that one any more, but {person.email.strip() or 'none'}"


def _now(evidence: Evidence, moment: LocalTime) -> str:
    now = evidence.now
    if now.proven is None:
        return "not proven yet"
    if now.unreadable:
        return f"nobody can tell: {now.unreadable}"
    if evidence.then.proven is now.proven and not now.cleared:
        return "that proof is the newest"
    as_of = f"by the newest proof, {moment(now.proven.proven_at)}"
    if now.cleared:
        return f"INCOMPLETE since {moment(now.cleared)}: nobody can tell"
    if now.in_list is None:
        return f"perhaps in it {as_of}"
    if now.in_list:
        return f"in it {as_of}"
    return f"not in it {as_of}: {_why_not(now, evidence, moment)}"


def _day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()

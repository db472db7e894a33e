"""What there is on one person, and how it is told: a line per list with the reason and the dates."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent
from campaign_sync.domain.feedback import Attribution
from campaign_sync.domain.membership import Verdict
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
from campaign_sync.storage.replacement_history import ProvenList
from campaign_sync.storage.replacements import Replacement

NOTHING_SAID = Verdict(None, (), ())
"""What the ledger says about somebody it doesn't have."""


@dataclass(frozen=True, kw_only=True)
class ListMembership:
    """One person and one list."""

    target: ListSettings
    zone: ZoneInfo
    proven: ProvenList | None
    """The last proof."""
    suppression_reasons: Sequence[SuppressionReason]
    """What keeps them out of this list as things stand now."""
    verdict: Verdict = NOTHING_SAID
    sent: Sent | None = None
    consent: ConsentEvent | None = None
    """The event in the CRM that decides now."""
    attribution: Attribution | None = None
    """How that event was attributed to this consent, where we wrote it."""
    broken: Replacement | None = None
    """The replace that left the list incomplete, if it is."""
    unreadable: str | None = None
    """Why the snapshot can't be read."""

    @property
    def in_list(self) -> bool | None:
        """Whether the person is in the list; None where nobody knows."""
        if self.proven is None or self.broken or self.unreadable:
            return None
        return self.sent is not None and self.sent.in_list


@dataclass(frozen=True)
class PersonReport:
    """One person and all lists. Who has no `key` is an address that nobody in the CRM has."""

    key: str | None
    email: str | None
    """As the CRM spells it, empty where it has none; None where the CRM doesn't have the person."""
    lists: Sequence[ListMembership]
    former: ProvenList | None = None
    """The last list they were sent to, where today's know them no longer."""

    @property
    def known(self) -> bool:
        """Whether the CRM, the ledger or a list has anything of them."""
        return self.email is not None or any(
            each.sent or each.consent or each.verdict != NOTHING_SAID for each in self.lists
        )


def print_person_reports(dossiers: Iterable[PersonReport], console: Console) -> None:
    """Tell all there is on some people. This shows addresses: only for who asked for these very people."""
    for dossier in dossiers:
        console.print(Text(_heading(dossier), "bold"))
        for told in _bounces(dossier):
            console.print(Text(told, "yellow"))
        print_sections(
            (Section(listed.target, listed.zone, listed.in_list, _lines(dossier, listed)) for listed in dossier.lists),
            console,
        )


def _heading(dossier: PersonReport) -> str:
    if dossier.key is None:
        return "Nobody in the CRM has this address; the vendor's feedback knows it."
    if dossier.email is None:
        former = dossier.former
        last = f", last sent to {former.mandator}/{former.list} of {former.proven_at:%Y-%m-%d}" if former else ""
        return f"{dossier.key} · not in the CRM any more{last}"
    return f"{dossier.key} · {dossier.email.strip() or 'no address'}"


def _lines(dossier: PersonReport, listed: ListMembership) -> Iterator[Line]:
    moment = LocalTime(listed.zone)
    if listed.unreadable:
        yield "beware", f"nobody can tell: {listed.unreadable}"
    if listed.broken and listed.broken.cleared_at:
        yield "beware", f"INCOMPLETE since {moment(listed.broken.cleared_at)}: it was cleared, and no proof followed"
    if listed.in_list is False:
        yield "why", _why_not(dossier, listed, moment)
    yield "proven", moment(listed.proven.proven_at) if listed.proven else "never yet"
    if dossier.key is not None:
        yield from _consent(dossier, listed, moment)
    for objection in listed.suppression_reasons:
        if objection.reason is not Reason.BOUNCED:  # which stands above all lists
            yield "now", objection_told(objection, dossier.key, listed.target.schema.opt_in_id, moment)
    for entry in listed.verdict.newer:
        yield "since", f"{rejection_told(entry, moment)} – in a run whose list isn't proven yet"
    for entry in listed.verdict.older:
        yield "before", rejection_told(entry, moment)


def _why_not(dossier: PersonReport, listed: ListMembership, moment: LocalTime) -> str:
    if listed.verdict.reason:
        return rejection_told(listed.verdict.reason, moment)
    return "nobody is known who could be picked" if dossier.key is None else not_picked_told(listed.target)


def _consent(dossier: PersonReport, listed: ListMembership, moment: LocalTime) -> Iterator[Line]:
    sent, now = listed.sent, listed.consent
    if sent and sent.in_list:
        yield "consent", f"{sent.consent.kind.value} {moment(sent.consent.occurred_at)}, event {sent.consent.event_id}"
        if dossier.email is not None and sent.address != address_key(dossier.email):
            yield "sent to", f"{sent.address}, which isn't their address in the CRM any more"
        if now and now.event_id == sent.consent.event_id:
            return
    label = "consent" if not (sent and sent.in_list) else "by now"
    if now is None:
        if sent or listed.verdict != NOTHING_SAID:  # who was never picked needs none
            yield label, f"none for {listed.target.schema.opt_in_id} in the CRM"
    else:
        source = f" ({now.source})" if now.source else ""
        because = f", {listed.attribution.meaning}" if listed.attribution else ""
        yield label, f"{now.kind.value} {moment(now.occurred_at)}{source}, event {now.event_id}{because}"


def _bounces(dossier: PersonReport) -> list[str]:
    """A bounce is the address's own: it stands against every list."""
    told = (
        f"The address bounced{when_told(objection, LocalTime(listed.zone))} and gets into no list."
        for listed in dossier.lists
        for objection in listed.suppression_reasons
        if objection.reason is Reason.BOUNCED
    )
    return list(dict.fromkeys(told))

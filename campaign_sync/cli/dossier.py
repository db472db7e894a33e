"""What there is on one person, and how it is told: a line per list with the reason and the dates."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent
from campaign_sync.domain.membership import Rejection, Verdict
from campaign_sync.domain.objection import Objection
from campaign_sync.domain.rejection import Reason, meaning
from campaign_sync.replacing.target import Target
from campaign_sync.state.history import ProvenList
from campaign_sync.state.journal import Replace

Line = tuple[str, str]
"""What it is about, and what there is to say."""


NOTHING_SAID = Verdict(None, (), ())
"""What the ledger says about somebody it doesn't have."""


@dataclass(frozen=True)
class Sent:
    """One person's row in the snapshot of a list, the consent it stands on, and whether it is in the list."""

    address: str
    consent_event_id: str
    consent_kind: str
    consent_at: datetime
    in_list: bool


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One person and one list."""

    target: Target
    zone: ZoneInfo
    proven: ProvenList | None
    """The last proof."""
    objections: Sequence[Objection]
    """What keeps them out of this list as things stand now."""
    verdict: Verdict = NOTHING_SAID
    sent: Sent | None = None
    consent: ConsentEvent | None = None
    """The event in the CRM that decides now."""
    broken: Replace | None = None
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
class Dossier:
    """One person and all lists. Who has no `key` is an address that nobody in the CRM has."""

    key: str | None
    email: str | None
    """As the CRM spells it, empty where it has none; None where the CRM doesn't have the person."""
    lists: Sequence[Listed]
    former: ProvenList | None = None
    """The last list they were sent to, where today's know them no longer."""

    @property
    def known(self) -> bool:
        """Whether the CRM, the ledger or a list has anything of them."""
        return self.email is not None or any(
            each.sent or each.consent or each.verdict != NOTHING_SAID for each in self.lists
        )


def print_dossiers(dossiers: Iterable[Dossier], console: Console) -> None:
    """Tell all there is on some people. This shows addresses: only for who asked for these very people."""
    for dossier in dossiers:
        console.print(Text(_heading(dossier), "bold"))
        for told in _bounces(dossier):
            console.print(Text(told, "yellow"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("list", no_wrap=True)
        table.add_column("in it", no_wrap=True)
        table.add_column("", no_wrap=True, style="dim")
        table.add_column(f"times in {', '.join(dict.fromkeys(each.zone.key for each in dossier.lists))}")
        for listed in dossier.lists:
            for position, (label, told) in enumerate(_lines(dossier, listed)):
                first = position == 0
                name = f"{listed.target.mandator}/{listed.target.name}" if first else ""
                table.add_row(Text(name), _SIGNS[listed.in_list] if first else "", Text(label), Text(told))
            table.add_section()
        console.print(table)


_SIGNS = {True: "[green]✓ yes[/green]", False: "[red]✗ no[/red]", None: "[yellow]?[/yellow]"}


def _heading(dossier: Dossier) -> str:
    if dossier.key is None:
        return "Nobody in the CRM has this address; the vendor's feedback knows it."
    if dossier.email is None:
        former = dossier.former
        last = f", last sent to {former.mandator}/{former.list} of {former.proven_at:%Y-%m-%d}" if former else ""
        return f"{dossier.key} · not in the CRM any more{last}"
    return f"{dossier.key} · {dossier.email.strip() or 'no address'}"


def _lines(dossier: Dossier, listed: Listed) -> Iterator[Line]:
    moment = _Moments(listed.zone)
    if listed.unreadable:
        yield "beware", f"nobody can tell: {listed.unreadable}"
    if listed.broken and listed.broken.cleared_at:
        yield "beware", f"INCOMPLETE since {moment(listed.broken.cleared_at)}: it was cleared, and no proof followed"
    if listed.in_list is False:
        yield "why", _why_not(dossier, listed, moment)
    yield "proven", moment(listed.proven.proven_at) if listed.proven else "never yet"
    if dossier.key is not None:
        yield from _consent(dossier, listed, moment)
    for objection in listed.objections:
        if objection.reason is not Reason.BOUNCED:  # which stands above all lists
            yield "now", _objection(objection, dossier, listed, moment)
    for entry in listed.verdict.newer:
        yield "since", f"{_entry(entry, moment)} – in a run whose list isn't proven yet"
    for entry in listed.verdict.older:
        yield "before", _entry(entry, moment)


def _why_not(dossier: Dossier, listed: Listed, moment: "_Moments") -> str:
    if listed.verdict.reason:
        return _entry(listed.verdict.reason, moment)
    pick = listed.target.pick
    title = f"the {pick.kind.replace('_', ' ')} “{pick.name}”"
    return "nobody is known who could be picked" if dossier.key is None else f"not picked: {title} didn't name them"


def _consent(dossier: Dossier, listed: Listed, moment: "_Moments") -> Iterator[Line]:
    sent, now = listed.sent, listed.consent
    if sent and sent.in_list:
        yield "consent", f"{sent.consent_kind} {moment(sent.consent_at)}, event {sent.consent_event_id}"
        if dossier.email is not None and sent.address != address_key(dossier.email):
            yield "sent to", f"{sent.address}, which isn't their address in the CRM any more"
        if now and now.event_id == sent.consent_event_id:
            return
    label = "consent" if not (sent and sent.in_list) else "by now"
    if now is None:
        if sent or listed.verdict != NOTHING_SAID:  # who was never picked needs none
            yield label, f"none for {listed.target.contract.opt_in_id} in the CRM"
    else:
        source = f" ({now.source})" if now.source else ""
        yield label, f"{now.kind.value} {moment(now.occurred_at)}{source}, event {now.event_id}"


def _objection(objection: Objection, dossier: Dossier, listed: Listed, moment: "_Moments") -> str:
    opt_in_id = listed.target.contract.opt_in_id
    when = _when(objection, moment)
    if objection.reason is Reason.BLOCKLISTED:
        return f"the vendor's blocklist matches this address, seen{when}"
    if objection.whose is None:
        return f"this address unsubscribed{when}, and no consent in the CRM could be withdrawn for it"
    who = "" if objection.whose == dossier.key else f"{objection.whose}, who has the same address, "
    return f"{who}withdrew {opt_in_id}{when}"


def _bounces(dossier: Dossier) -> list[str]:
    """A bounce is the address's own: it stands against every list."""
    told = (
        f"The address bounced{_when(objection, _Moments(listed.zone))} and gets into no list."
        for listed in dossier.lists
        for objection in listed.objections
        if objection.reason is Reason.BOUNCED
    )
    return list(dict.fromkeys(told))


def _when(objection: Objection, moment: "_Moments") -> str:
    when = f" {moment(objection.since)}" if objection.since else ""
    return f"{when} ({objection.source})" if objection.source else when


def _entry(entry: Rejection, moment: "_Moments") -> str:
    code = f" (vendor's code {entry.vendor_code})" if entry.vendor_code is not None else ""
    first, last = moment(entry.first_seen), moment(entry.last_seen)
    seen = first if first == last else f"first {first}, last {last}"
    return f"{entry.stage}: {meaning(entry.reason)}{code}; {seen}"


@dataclass(frozen=True)
class _Moments:
    """Moments as they are written in a mandator's time zone."""

    zone: ZoneInfo

    def __call__(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M}"

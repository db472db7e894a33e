"""Consents as CRMs keep them: a state of a record or an address, with a date of its own or without."""

import hashlib
import uuid
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from campaign_sync.domain.consent import GRANTING, ConsentKind, ConsentWords, normalize_word
from campaign_sync.domain.instant import CLOCK_TOLERANCE

UNDATED_GRANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of a grant for which the CRM has none: it is older than every withdrawal."""

ADDRESS_PREFIX: Final = "address:"

NEITHER: Final = "none"
"""The word of a state that is neither granted nor withdrawn, besides the ignored words of the configuration."""

ACCEPTED_BY_SETTING: Final = "crm.undated_regrant"
"""Who accepted a renewed grant that no person has accepted."""

_EVENTS = uuid.UUID("0e2f6f0c-6f0b-5c0e-9a55-3d1b8f0a7c11")

_MOMENT = timedelta(microseconds=1)


def state_kind(raw: object, words: ConsentWords) -> ConsentKind | None:
    """Return the kind that a state's word of the CRM means; None if it is neither granted nor withdrawn."""
    return None if normalize_word(raw) == NEITHER else words.kind_of(raw)


class ConsentState(NamedTuple):
    """What the CRM shows now about one consent of one record or address."""

    subject: str
    """`entity_type:entity_id`, or `ADDRESS_PREFIX` and the normalized address."""
    kind: ConsentKind | None
    """`GRANTED`, `CONFIRMED`, `WITHDRAWN` or `UNCLEAR`; None where the CRM says neither, such as an unticked box."""
    stated_at: datetime | None
    """The consent's own date, UTC. Never the time of the last edit of the record, which moves for other reasons."""
    source: str | None = None
    evidence: str | None = None
    text_version: str | None = None


class StateEvent(NamedTuple):
    """The consent event that a state means."""

    subject: str
    event_id: str
    kind: ConsentKind
    occurred_at: datetime | None
    """The state's own date; else when a withdrawal was first observed; of a renewed grant that was accepted, when the
    withdrawal was last observed; or `UNDATED_GRANT`. None only for an unclear state without a date."""
    source: str | None
    evidence: str | None
    """With what was observed and when, where the CRM has no date."""
    text_version: str | None


class ObservedConsent(NamedTuple):
    """What earlier reads of the CRM showed of one consent."""

    granted: bool
    """Whether it was granted when it was last shown; else it was withdrawn."""
    since: datetime
    """When it was first observed like that, without anything else in between."""
    withdrawn_at: datetime | None = None
    """Its newest withdrawal, unless a newer grant with a date has ended it."""
    accepted_at: datetime | None = None
    """When it was accepted that it is granted again in spite of that withdrawal."""
    accepted_by: str | None = None
    """Who accepted it: a person, or `ACCEPTED_BY_SETTING`."""
    stated_at: datetime | None = None
    """The grant's own date."""
    withdrawn_until: datetime | None = None
    """When it was last shown as withdrawn, before it was granted again. None if the CRM never showed the withdrawal."""
    reported_at: datetime | None = None
    """When it was first reported that it is granted in spite of the withdrawal."""
    stated_before: datetime | None = None
    """The own date of the last grant that counted before the withdrawal. None if it had none, or none was observed."""

    @property
    def refused(self) -> bool:
        """Whether it is granted in spite of a withdrawal, and that was neither accepted nor given a newer date."""
        return self.granted and self.withdrawn_at is not None and self.accepted_at is None

    @property
    def last_counted(self) -> datetime | None:
        """The own date of the last grant that counted, up to now."""
        return self.stated_at if self.granted and not self.refused else self.stated_before


def is_dated(state: ConsentState, now: datetime) -> bool:
    """Return whether a state has a date of its own that isn't in the future."""
    return state.stated_at is not None and state.stated_at <= now + CLOCK_TOLERANCE


def shows_grant(state: ConsentState, now: datetime) -> bool:
    """Return whether a state is a grant. One with a future date grants nothing."""
    return state.kind in GRANTING and (state.stated_at is None or is_dated(state, now))


def observe(
    before: ObservedConsent | None, state: ConsentState, now: datetime, last_read: datetime | None = None
) -> ObservedConsent | None:
    """Return what is remembered of a consent once the CRM has shown this state.

    A future grant leaves the memory as it is. A state that says neither, or that isn't understood, counts as a
    withdrawal without a date where a grant or a withdrawal is remembered, and else as nothing.

    Args:
        before: what is remembered.
        state: what the CRM shows.
        now: the time of this read.
        last_read: the time of the read before it.
    """
    if shows_grant(state, now):
        return _grant(before, state, now, last_read)
    if state.kind is ConsentKind.WITHDRAWN:
        return _withdrawal(before, state.stated_at if is_dated(state, now) else None, now)
    if state.kind in (None, ConsentKind.UNCLEAR) and before is not None:
        return _withdrawal(before, None, now)
    return before


def _grant(
    before: ObservedConsent | None, state: ConsentState, now: datetime, last_read: datetime | None
) -> ObservedConsent:
    since, at = before.since if before and before.granted else now, state.stated_at
    if before is None or before.withdrawn_at is None or (at and at > before.withdrawn_at):
        return ObservedConsent(True, since, stated_at=at)
    if before.granted:
        return before._replace(stated_at=at)
    until = max(before.since, last_read or before.since)
    return _regranted(since, before, before.withdrawn_at, at)._replace(withdrawn_until=until)


def _regranted(
    since: datetime, before: ObservedConsent, withdrawn_at: datetime, stated_at: datetime | None
) -> ObservedConsent:
    return ObservedConsent(True, since, withdrawn_at, stated_at=stated_at, stated_before=before.last_counted)


def _withdrawal(before: ObservedConsent | None, stated_at: datetime | None, now: datetime) -> ObservedConsent:
    since = now if before is None or before.granted else before.since
    at = stated_at or since
    if before and before.granted and before.stated_at and at < before.stated_at:  # the date of an earlier withdrawal
        at = max(now, before.stated_at)  # a clock of the CRM may be fast
    if before is None:
        return ObservedConsent(False, since, at)
    return ObservedConsent(False, since, max(at, before.withdrawn_at or at), stated_before=before.last_counted)


def note_withdrawal(observed: ObservedConsent, withdrawn_at: datetime) -> ObservedConsent:
    """Return the memory of a consent that was also withdrawn elsewhere. A consent that is granted now stays so."""
    if observed.granted or observed.withdrawn_at is None or observed.withdrawn_at >= withdrawn_at:
        return observed
    return observed._replace(withdrawn_at=withdrawn_at)


def note_unshown(
    observed: ObservedConsent, state: ConsentState, withdrawn_at: datetime, now: datetime
) -> ObservedConsent:
    """Return the memory of a grant whose withdrawal the CRM has accepted and never shown: granted in spite of it."""
    is_newer = state.stated_at is not None and state.stated_at > withdrawn_at
    is_known = observed.withdrawn_at is not None and observed.withdrawn_at >= withdrawn_at
    if not observed.granted or not shows_grant(state, now) or is_newer or is_known:
        return observed
    return _regranted(now, observed, withdrawn_at, state.stated_at)


def needs_whole_read(before: ObservedConsent | None, state: ConsentState, now: datetime) -> bool:
    """Return whether a state may only be judged once all states of the opt-in have been read.

    That is: a consent that was granted again, because a mass of them is refused, and a withdrawn duplicate outweighs
    it; and a grant that isn't shown any more, because a granted duplicate may show it.
    """
    if before is None:
        return False
    if shows_grant(state, now):
        by_person = before.accepted_at is not None and before.accepted_by != ACCEPTED_BY_SETTING
        return not before.granted or (before.withdrawn_at is not None and not by_person)
    return state.kind is None and before.granted


def is_undated_regrant(observed: ObservedConsent, stated_at: datetime | None) -> bool:
    """Return whether a grant in spite of the withdrawal that is remembered has got no date since.

    It has none, or still that of the grant that counted before: a box of its own withdraws, and leaves that date alone.
    Any other date that isn't newer is none that the CRM has shown before, and looks like damage.

    Args:
        observed: what is remembered.
        stated_at: the grant's own date.
    """
    return observed.withdrawn_at is not None and (stated_at is None or stated_at == observed.stated_before)


def may_be_accepted_unasked(observed: ObservedConsent) -> bool:
    """Return whether a setting may accept an undated regrant: the CRM has shown the withdrawal since it happened.

    Else the grant may be older than the withdrawal, which came from elsewhere.
    """
    until, at = observed.withdrawn_until, observed.withdrawn_at
    return observed.refused and until is not None and at is not None and until >= at


def accept_regrant(observed: ObservedConsent, now: datetime, accepted_by: str) -> ObservedConsent:
    """Return the memory of a consent whose undated regrant counts, from its last withdrawn state on."""
    return observed._replace(accepted_at=now, accepted_by=accepted_by)


def refuse_regrant(observed: ObservedConsent) -> ObservedConsent:
    """Return the memory of a consent whose regrant isn't accepted any more."""
    return observed._replace(accepted_at=None, accepted_by=None)


def state_event(
    state: ConsentState, opt_in_id: str, observed: ObservedConsent | None, now: datetime
) -> StateEvent | None:
    """Return the event that a state means; None if it says nothing about the consent.

    Args:
        state: what the CRM shows.
        opt_in_id: the opt-in, as `domain.consent.normalize_word` returns it.
        observed: what is remembered once the CRM has shown the state.
        now: the present moment.
    """
    if state.kind is None:
        if observed is None or observed.granted:
            return None
        seen = "not shown as granted any more"
        return _event(state, opt_in_id, ConsentKind.WITHDRAWN, observed.since, f"{seen}{_first_seen(observed.since)}")
    if state.kind in GRANTING and observed and observed.accepted_at and is_undated_regrant(observed, state.stated_at):
        return _accepted_event(state, opt_in_id, state.kind, observed, observed.accepted_at)
    if state.kind is ConsentKind.UNCLEAR or (state.stated_at and (is_dated(state, now) or state.kind in GRANTING)):
        return _event(state, opt_in_id, state.kind, state.stated_at)
    seen = _shown_as(state.kind, "dated in the future" if state.stated_at else "without a date")
    if observed is None or observed.granted is (state.kind is ConsentKind.WITHDRAWN):
        return _event(state, opt_in_id, state.kind, UNDATED_GRANT if state.kind in GRANTING else now, seen)
    seen += _first_seen(observed.since)
    at = observed.since if state.kind is ConsentKind.WITHDRAWN else UNDATED_GRANT
    return _event(state, opt_in_id, state.kind, at, seen)


def _accepted_event(
    state: ConsentState, opt_in_id: str, kind: ConsentKind, observed: ObservedConsent, accepted_at: datetime
) -> StateEvent:
    # Not from when it was seen or accepted: people who unsubscribed at the vendor before that may have done so later.
    at = max(moment for moment in (observed.withdrawn_until, _after(observed.withdrawn_at)) if moment)
    dated = f"dated {_minute(state.stated_at)} as before" if state.stated_at else "without a date"
    seen = f"{_shown_as(kind, dated)}{_first_seen(observed.since)}; accepted {_minute(accepted_at)}"
    return _event(state, opt_in_id, kind, at, f"{seen}, in spite of the withdrawal before")


def _shown_as(kind: ConsentKind, dated: str) -> str:
    return "shown as " + kind + ", " + dated


def _after(moment: datetime | None) -> datetime:
    return moment + _MOMENT if moment else UNDATED_GRANT


def _event(
    state: ConsentState, opt_in_id: str, kind: ConsentKind, at: datetime | None, seen: str | None = None
) -> StateEvent:
    evidence = "; ".join(filter(None, (state.evidence, seen))) or None
    event_id = _event_id(state.subject, opt_in_id, kind, at)
    return StateEvent(state.subject, event_id, kind, at, state.source, evidence, state.text_version)


def _event_id(subject: str, opt_in_id: str, kind: ConsentKind, at: datetime | None) -> str:
    """Return what `uuid.uuid5` returns for the event, in a third of the time: there may be millions."""
    name = "\n".join((subject, opt_in_id, kind, _iso_format(at) if at else ""))
    digest = bytearray(hashlib.sha1(_EVENTS.bytes + name.encode("utf-8", "surrogatepass")).digest()[:16])  # noqa: S324
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=1_000)
def _iso_format(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _first_seen(since: datetime) -> str:
    return f"; first seen {_minute(since)}"


@lru_cache(maxsize=1_000)
def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


REGRANTS_AT_ONCE: Final = 20
"""As many consents may be granted again without a newer date within `REGRANT_WINDOW`."""

REGRANTS_PER_MILLE: Final = 1
"""So may as large a share of the states of the opt-in."""

REGRANT_WINDOW: Final = timedelta(days=1)
"""Reads within this time count together: a mass must not pass in parts."""


class Regrant(NamedTuple):
    """A consent that is granted again without a newer date, and that no person has accepted."""

    subject: str
    since: datetime
    refused: bool
    """Whether it isn't accepted by the setting either."""


def regrants_at_once(regrants: Collection[Regrant], states: int) -> frozenset[str]:
    """Return the subjects of those regrants that came in such a mass that they look like a restored CRM.

    Args:
        regrants: all that the CRM shows for an opt-in.
        states: how many states of this opt-in it shows.
    """
    ordered = sorted(regrants, key=lambda regrant: regrant.since)
    refused = list(accumulate((regrant.refused for regrant in ordered), initial=0))
    subjects: set[str] = set()
    end = marked = 0
    for start, first in enumerate(ordered):
        while end < len(ordered) and ordered[end].since - first.since <= REGRANT_WINDOW:
            end += 1
        if _is_mass(end - start, states) and refused[end] > refused[start]:
            subjects.update(regrant.subject for regrant in ordered[max(start, marked) : end])
            marked = end
    return frozenset(subjects)


def _is_mass(regrants: int, states: int) -> bool:
    return regrants > REGRANTS_AT_ONCE and regrants * 1000 > states * REGRANTS_PER_MILLE

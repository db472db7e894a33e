"""Withdrawals on their way into the CRM, with a record of those it takes and of those it refuses."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from campaign_sync.crm.port import Crm, WriteBack
from campaign_sync.crm.sql.feedback_plan import withdrawal_id
from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import CrmEntry, Unsubscribe
from campaign_sync.domain.text import normalize_text
from campaign_sync.storage.state import State

_Consent = tuple[Entity, str]
"""A record, and the normalized id of an opt-in."""


def record_withdrawals(
    crm: Crm, state: State, unsubscribes: Sequence[Unsubscribe]
) -> tuple[WriteBack, set[Unsubscribe]]:
    """Write withdrawals to the CRM, and remember the refused ones: they are repeated until the CRM has them.

    So are those of consents on which the recipient was written to and that the CRM doesn't show now, such as those of a
    table that is just being loaded: they may be shown again tomorrow.

    Returns:
        The CRM's answer, and the unsubscribes for which the CRM has entries, or refused them.

    Raises:
        CrmError, StateError: one of them fails. Repeat the call; nothing is written twice.
    """
    waiting, settled = state.refused_withdrawals.event_ids(), set[Unsubscribe]()
    answered = defaultdict[Unsubscribe, set[_Consent]](set)

    def on_written(entries: Sequence[CrmEntry]) -> None:
        state.write_backs.record(entries, datetime.now(UTC))
        state.refused_withdrawals.remove({entry.event_id for entry in entries if entry.event_id} & waiting)
        settled.update(unsubscribes_of(entries))
        _note_consents(entries, answered)

    result = crm.record_unsubscribes(unsubscribes, on_written)
    state.refused_withdrawals.add(result.refused)
    _note_consents(result.refused, answered)
    state.refused_withdrawals.add(_not_shown(crm, answered), shown=False)
    return result, settled | unsubscribes_of(result.refused)


def _note_consents(entries: Sequence[CrmEntry], answered: Mapping[Unsubscribe, set[_Consent]]) -> None:
    for entry in entries:
        if isinstance(entry.feedback, Unsubscribe) and entry.entity and entry.opt_in_id:
            answered[entry.feedback].add((entry.entity, normalize_word(entry.opt_in_id)))


def _not_shown(crm: Crm, answered: Mapping[Unsubscribe, Collection[_Consent]]) -> list[CrmEntry]:
    """Return the withdrawals of consents that weren't answered for, of records that the CRM has."""
    missing = [
        (unsubscribe, consent)
        for unsubscribe, consents in answered.items()
        for consent in unsubscribe.consents
        if (consent.entity, normalize_word(consent.opt_in_id)) not in consents
    ]
    if not missing:
        return []
    with crm.snapshot(()) as snapshot:
        present = snapshot.records({consent.entity for _, consent in missing})
        opt_ins = {consent.opt_in_id: snapshot.opt_in(consent.opt_in_id) for _, consent in missing}
    return [
        CrmEntry(
            unsubscribe,
            new=True,
            entity=consent.entity,
            opt_in_id=opt_in.opt_in_id,
            event_id=withdrawal_id(unsubscribe, consent.entity, normalize_text(opt_in.opt_in_id)),
        )
        for unsubscribe, consent in missing
        if (opt_in := opt_ins[consent.opt_in_id]) and opt_in.mandator == unsubscribe.mandator
        if consent.entity in present
    ]


def unsubscribes_of(entries: Sequence[CrmEntry]) -> set[Unsubscribe]:
    """Return the unsubscribes that entries belong to."""
    return {entry.feedback for entry in entries if isinstance(entry.feedback, Unsubscribe)}

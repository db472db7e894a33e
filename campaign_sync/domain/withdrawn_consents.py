"""The rule which consents an unsubscribe withdraws."""

from collections.abc import Collection, Iterator, Mapping

from campaign_sync.domain.consent import normalize_word
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import Unsubscribe


def withdrawn_consents(
    unsubscribe: Unsubscribe,
    holders: Collection[Entity],
    opt_ins_by_entity: Mapping[Entity, Collection[str]],
    opt_ins_of_mandator: Mapping[str, str],
) -> Iterator[tuple[Entity, str]]:
    """Return the consents that an unsubscribe withdraws, as record and opt-in id in the CRM's spelling, sorted.

    - If it names an `opt_in_id`: this consent of its `entity`, of the records in `consents`, and of the holders.
    - Else the `consents`, and the same opt-ins of the holders.
    - Without any: the holders' consents for its `opt_ins`, or for all opt-ins of the mandator if it has none.

    Args:
        unsubscribe: what the vendor reports.
        holders: the records that have its address now.
        opt_ins_by_entity: the opt-ins that records have consent events for, as normalized ids. No other is withdrawn.
        opt_ins_of_mandator: the mandator's opt-ins in the CRM's spelling, by normalized id.
    """
    consents = {(consent.entity, normalize_word(consent.opt_in_id)) for consent in unsubscribe.consents}
    consents = {entry for entry in consents if entry[1] in opt_ins_of_mandator}
    if unsubscribe.opt_in_id:
        opt_ins = {normalize_word(unsubscribe.opt_in_id)} & opt_ins_of_mandator.keys()
        consents = {entry for entry in consents if entry[1] in opt_ins}
        if unsubscribe.entity:
            consents |= {(unsubscribe.entity, opt_in) for opt_in in opt_ins}
    else:
        left = set(map(normalize_word, unsubscribe.opt_ins)) & opt_ins_of_mandator.keys()
        opt_ins = {opt_in for _, opt_in in consents} or left or set(opt_ins_of_mandator)
    consents |= {(entity, opt_in) for entity in holders for opt_in in opt_ins}
    return (
        (entity, opt_ins_of_mandator[opt_in])
        for entity, opt_in in sorted(consents)
        if opt_in in opt_ins_by_entity.get(entity, ())
    )

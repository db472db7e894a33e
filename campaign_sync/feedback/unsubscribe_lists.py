"""Who has left which recipient list, where recipient lists have their own unsubscribe lists."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from campaign_sync.domain.feedback import RawRow, Unsubscribe
from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.state import State

ListsOf = Callable[[RawRow | None], frozenset[int] | None]
"""Returns the recipient lists that a row is about; None where they aren't known."""


def unsubscribed_flags(vendor: Optimizely, list_id: int, ids: Texts) -> tuple[list[bool], list[bool]]:
    """Return for each recipient id whether it is on this recipient list's unsubscribe list, and whether on any.

    The first is always False where the user may not ask about single lists.
    """
    own = vendor.unsubscribes.contains_all_of_list(list_id, ids)
    return own or [False] * len(ids), vendor.unsubscribes.contains_all(ids)


def lists_left(vendor: Optimizely, ids: Collection[str], *, rows_name_opt_ins: bool) -> dict[str, frozenset[int]]:
    """Return which of the mandator's recipient lists each recipient has left.

    A recipient who is on an unsubscribe list and has left none of these lists is on the client's list, or on one that
    isn't shown: the vendor mails them nothing. Whether an answer about a recipient list includes the client's list
    isn't documented; this conclusion is right in either case. The result is empty for all where the user may not ask.

    Args:
        vendor: the vendor's API.
        ids: recipient ids.
        rows_name_opt_ins: whether feedback rows name the opt-in that is affected. Then a recipient who has left all of
            several lists counts as having left none of them: the answers would be the same for one on the client's
            list, and a row says which consent has ended.
    """
    lists_by_recipient: defaultdict[str, set[int]] = defaultdict(set)
    asked = sorted(ids)
    list_ids = vendor.recipient_lists.all_ids() if asked else frozenset()
    for list_id in list_ids:
        answers = vendor.unsubscribes.contains_all_of_list(list_id, asked)
        for recipient_id, left in zip(asked, answers or (), strict=answers is not None):
            if left:
                lists_by_recipient[recipient_id].add(list_id)
    if rows_name_opt_ins and len(list_ids) > 1:
        lists_by_recipient = defaultdict(
            set, {recipient: lists for recipient, lists in lists_by_recipient.items() if lists != list_ids}
        )
    return {recipient_id: frozenset(lists_by_recipient[recipient_id]) for recipient_id in asked}


LeftByRow = Mapping[RawRow | None, frozenset[int]]
"""The recipient lists that were left according to the vendor, by feedback row."""


def lists_left_by_row(
    unsubscribes: Sequence[Unsubscribe], left: Mapping[str, frozenset[int]], opt_ins: Mapping[int, str]
) -> dict[RawRow | None, frozenset[int]]:
    """Return the recipient lists that each unsubscribe may be about: only its opt-in's lists if its row names one.

    Further lists that the recipient has left are recorded when their own unsubscribe lists are read.

    Args:
        unsubscribes: unsubscribes of one mandator.
        left: the result of `lists_left`.
        opt_ins: the opt-in of each recipient list, by the list's id.
    """

    def lists(unsubscribe: Unsubscribe) -> frozenset[int]:
        list_ids = left.get(unsubscribe.address, frozenset())
        return (
            frozenset(list_id for list_id in list_ids if opt_ins.get(list_id) == unsubscribe.opt_in_id)
            if unsubscribe.opt_in_id
            else list_ids
        )

    return {unsubscribe.raw: lists(unsubscribe) for unsubscribe in unsubscribes}


def remember_lists_left(
    state: State,
    mandator: str,
    unsubscribes: Sequence[Unsubscribe],
    left: LeftByRow,
    list_ids: Collection[int],
    now: datetime,
) -> None:
    """Record that the CRM gets these withdrawals, so that they aren't new when the lists' own lists are read."""
    for list_id in list_ids:
        state.list_unsubscribes.mark_known(
            mandator,
            list_id,
            {unsubscribe.address for unsubscribe in unsubscribes if list_id in left.get(unsubscribe.raw, ())},
            now,
        )


def with_opt_ins_left(
    unsubscribes: Sequence[Unsubscribe], left: LeftByRow, opt_ins: Mapping[int, str]
) -> list[Unsubscribe]:
    """Return the unsubscribes, each with the opt-ins of those of our lists that were left.

    Unsubscribes that have opt-ins already keep them.

    Args:
        unsubscribes: unsubscribes of one mandator.
        left: the recipient lists that were left.
        opt_ins: the opt-in of each recipient list, by the list's id.
    """

    def opt_ins_of(unsubscribe: Unsubscribe) -> frozenset[str]:
        return unsubscribe.opt_ins or frozenset(
            opt_ins[list_id] for list_id in left.get(unsubscribe.raw, ()) if list_id in opt_ins
        )

    return [replace(unsubscribe, opt_ins=opt_ins_of(unsubscribe)) for unsubscribe in unsubscribes]


def opt_ins_when_first_read(
    unsubscribes: Sequence[Unsubscribe], unmatched: Sequence[Unsubscribe]
) -> dict[Unsubscribe, frozenset[str]]:
    """Return, for unmatched unsubscribes that are parsed again, the opt-ins that were recorded at the first time.

    Only the newest of a recipient is stored; it counts for the older ones as well.
    """
    stored = {(unsubscribe.address, unsubscribe.opt_in_id): unsubscribe for unsubscribe in unmatched}
    pairs = ((unsubscribe, stored.get((unsubscribe.address, unsubscribe.opt_in_id))) for unsubscribe in unsubscribes)
    return {
        unsubscribe: newest.opt_ins
        for unsubscribe, newest in pairs
        if newest and unsubscribe.occurred_at <= newest.occurred_at
    }


def lists_left_before(
    unsubscribes: Sequence[Unsubscribe], opt_ins: Mapping[int, str]
) -> dict[RawRow | None, frozenset[int]]:
    """Return which of our lists were left, for the unsubscribes whose opt-ins are known already."""
    return {
        unsubscribe.raw: frozenset(list_id for list_id in opt_ins if opt_ins[list_id] in unsubscribe.opt_ins)
        for unsubscribe in unsubscribes
        if unsubscribe.opt_ins
    }


def restrict_to_lists_left(lists_of: ListsOf, left: LeftByRow) -> ListsOf:
    """Return `lists_of` restricted to the lists that were left; these alone where no mailing is known."""

    def lists(raw: RawRow | None) -> frozenset[int] | None:
        mailed, were_left = lists_of(raw), left.get(raw, frozenset())
        return mailed if not were_left else were_left if mailed is None else (mailed & were_left or mailed)

    return lists


def about_our_lists(unsubscribes: Sequence[Unsubscribe], left: LeftByRow) -> list[Unsubscribe]:
    """Return the unsubscribes without those about lists that aren't ours only: these withdraw nothing."""
    return [
        unsubscribe
        for unsubscribe in unsubscribes
        if unsubscribe.opt_in_id or unsubscribe.consents or unsubscribe.opt_ins or not left.get(unsubscribe.raw)
    ]


def with_all_opt_ins_left(unsubscribes: Sequence[Unsubscribe]) -> list[Unsubscribe]:
    """Return unmatched unsubscribes, each with the opt-ins of all unsubscribes of the same recipient.

    Only the newest of these will be stored. If one is about every opt-in of the mandator, all are.
    """
    by_recipient: defaultdict[tuple[str, str | None], list[frozenset[str]]] = defaultdict(list)
    for unsubscribe in unsubscribes:
        by_recipient[unsubscribe.address, unsubscribe.opt_in_id].append(unsubscribe.opt_ins)
    all_left = {
        key: frozenset().union(*opt_ins) if all(opt_ins) else frozenset() for key, opt_ins in by_recipient.items()
    }
    return [
        replace(unsubscribe, opt_ins=all_left[unsubscribe.address, unsubscribe.opt_in_id])
        for unsubscribe in unsubscribes
    ]

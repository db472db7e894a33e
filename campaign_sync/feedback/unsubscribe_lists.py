"""Asks the vendor who has left which recipient list, where lists have unsubscribe lists of their own."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from campaign_sync.domain.feedback import RawRow, Unsubscribe
from campaign_sync.optimizely.array_encoder import Texts
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.storage.state import State

ListsOf = Callable[[RawRow | None], frozenset[int] | None]
"""The recipient lists that a row is about; None where that isn't known."""


def unsubscribed_flags(vendor: Optimizely, list_id: int, ids: Texts) -> tuple[list[bool], list[bool]]:
    """Return for each recipient id, whether it is on this recipient list's own unsubscribe list, and whether on any.

    Where the user may not ask about single lists, nobody is known to be on this list's own.
    """
    own = vendor.unsubscribes.contains_all_of_list(list_id, ids)
    return own or [False] * len(ids), vendor.unsubscribes.contains_all(ids)


def lists_left(vendor: Optimizely, ids: Collection[str], *, rows_name_opt_ins: bool) -> dict[str, frozenset[int]]:
    """Return which of the mandator's recipient lists each recipient has left.

    Somebody who is on some unsubscribe list and has left none of these is on the client's, or on one that isn't shown:
    the vendor mails them nothing. Whether the answer about a recipient list includes the client's list isn't
    documented; to conclude so is right in either case. Where the user may not ask, nobody is known to have left any.

    Args:
        vendor: to be asked.
        ids: recipient ids.
        rows_name_opt_ins: whether feedback rows name the opt-in that is affected. Then somebody who has left all of
            several lists counts as having left none of them: the answers would be the same for one who is on the
            client's list, and a row says which consent has ended.
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
"""The recipient lists that the vendor says were left, by the row that is about them."""


def lists_left_by_row(
    unsubscribes: Sequence[Unsubscribe], left: Mapping[str, frozenset[int]], opt_ins: Mapping[int, str]
) -> dict[RawRow | None, frozenset[int]]:
    """Return which recipient lists each unsubscribe may be about: only its opt-in's if its row names one.

    What else they have left is news to the look at the list that it is.

    Args:
        unsubscribes: of one mandator.
        left: by address, as `lists_left` tells.
        opt_ins: recipient list id: the opt-in that it stands on.
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
    """The CRM is being told who has left these lists, so a look that finds them there has found no news."""
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
    """Return the unsubscribes, each with the opt-ins of those of our lists that the vendor says were left.

    Those that have some already keep them.

    Args:
        unsubscribes: of one mandator.
        left: what it says.
        opt_ins: recipient list id: the opt-in that it stands on.
    """

    def opt_ins_of(unsubscribe: Unsubscribe) -> frozenset[str]:
        return unsubscribe.opt_ins or frozenset(
            opt_ins[list_id] for list_id in left.get(unsubscribe.raw, ()) if list_id in opt_ins
        )

    return [replace(unsubscribe, opt_ins=opt_ins_of(unsubscribe)) for unsubscribe in unsubscribes]


def opt_ins_when_first_read(
    unsubscribes: Sequence[Unsubscribe], unmatched: Sequence[Unsubscribe]
) -> dict[Unsubscribe, frozenset[str]]:
    """Of those that were unmatched before and are read again, for which opt-ins the vendor said then.

    Only the newest of a recipient is kept, and tells for the older ones.
    """
    kept = {(unsubscribe.address, unsubscribe.opt_in_id): unsubscribe for unsubscribe in unmatched}
    newest = ((unsubscribe, kept.get((unsubscribe.address, unsubscribe.opt_in_id))) for unsubscribe in unsubscribes)
    return {
        unsubscribe: of_it.opt_ins
        for unsubscribe, of_it in newest
        if of_it and unsubscribe.occurred_at <= of_it.occurred_at
    }


def lists_left_before(
    unsubscribes: Sequence[Unsubscribe], opt_ins: Mapping[int, str]
) -> dict[RawRow | None, frozenset[int]]:
    """Return which of our lists were left by those of whom it is known already for which opt-ins."""
    return {
        unsubscribe.raw: frozenset(list_id for list_id in opt_ins if opt_ins[list_id] in unsubscribe.opt_ins)
        for unsubscribe in unsubscribes
        if unsubscribe.opt_ins
    }


def restrict_to_lists_left(lists_of: ListsOf, left: LeftByRow) -> ListsOf:
    """`lists_of`, but of a mailing's lists only those that were left, and of all lists where no mailing is known."""

    def lists(raw: RawRow | None) -> frozenset[int] | None:
        mailed, were_left = lists_of(raw), left.get(raw, frozenset())
        return mailed if not were_left else were_left if mailed is None else (mailed & were_left or mailed)

    return lists


def about_our_lists(unsubscribes: Sequence[Unsubscribe], left: LeftByRow) -> list[Unsubscribe]:
    """Without those who have left nothing but lists that aren't ours: they withdraw nothing."""
    return [
        unsubscribe
        for unsubscribe in unsubscribes
        if unsubscribe.opt_in_id or unsubscribe.consents or unsubscribe.opt_ins or not left.get(unsubscribe.raw)
    ]


def with_all_opt_ins_left(unsubscribes: Sequence[Unsubscribe]) -> list[Unsubscribe]:
    """Unmatched ones of which the newest will be kept, each with the opt-ins of all that tell of the same recipient.

    One that is about every opt-in of the mandator makes the others so.
    """
    by_recipient: defaultdict[tuple[str, str | None], list[frozenset[str]]] = defaultdict(list)
    for unsubscribe in unsubscribes:
        by_recipient[unsubscribe.address, unsubscribe.opt_in_id].append(unsubscribe.opt_ins)
    all_left = {key: frozenset().union(*every) if all(every) else frozenset() for key, every in by_recipient.items()}
    return [
        replace(unsubscribe, opt_ins=all_left[unsubscribe.address, unsubscribe.opt_in_id])
        for unsubscribe in unsubscribes
    ]

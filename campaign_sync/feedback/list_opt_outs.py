"""What it withdraws that somebody stands on the unsubscribe list of a single recipient list."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from campaign_sync.crm.port import Crm
from campaign_sync.domain.feedback import ConsentRef, Unsubscribe
from campaign_sync.feedback.write_back import write_back_recorder
from campaign_sync.storage.state import State


def withdraw_from_list(
    mandator: str,
    list_id: int,
    asked: Iterable[str],
    left: Mapping[str, frozenset[ConsentRef]],
    seen_at: datetime,
    source: str,
    crm: Crm,
    state: State,
) -> set[str]:
    """Withdraw the consents for one recipient list of those who are on its own unsubscribe list, and no others.

    Who is known to be on that list hasn't left once more. Who was, and isn't any more, is forgotten.

    Args:
        mandator: whose list it is.
        list_id: the recipient list with an unsubscribe list of its own.
        asked: the recipient ids that were asked about.
        left: those of them that have left, each with the consents on which they are in the list.
        seen_at: when, by the vendor's clock; it stands in for when they left.
        source: which look it was; the withdrawal names it.
        crm: takes the withdrawals.
        state: what the product remembers.

    Returns:
        Whose opt-outs were news.

    Raises:
        CrmError, StateError: one of them can't be reached.
    """
    remembered = state.list_unsubscribes
    known = remembered.known(mandator, list_id)
    news = set(left) - known
    since = remembered.record_pending(
        mandator, list_id, news, seen_at
    )  # the moment stays, should we die before the CRM is told
    opt_outs = [
        Unsubscribe(recipient, since[recipient], mandator, source, dated=False, through=left[recipient])
        for recipient in sorted(news)
    ]
    crm.record_unsubscribes(opt_outs, write_back_recorder(state))
    remembered.mark_known(mandator, list_id, left, seen_at)
    remembered.remove(mandator, list_id, known.intersection(asked) - set(left))
    return news

"""Feedback about erased people: it brings none of them back, and counts for a new person as it does for everybody."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from campaign_sync.crm.port import Crm
from campaign_sync.domain.erasure import Erased, is_token
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.feedback_rows import Layout, read_positions
from campaign_sync.feedback.pending_feedback import PendingFeedback
from campaign_sync.feedback.withdrawal_history import consenting_people
from campaign_sync.storage.csv_rows import CsvRows, csv_rows
from campaign_sync.storage.unmatched_feedback import UnmatchedFeedback


def hide_rows(rows: CsvRows, erased: Erased, layout: Layout | None) -> CsvRows:
    """Return rows as received, but those of erased people with a token, and without what isn't read of them.

    Args:
        rows: as received.
        erased: everybody who was erased.
        layout: the columns that are read; None if unknown.
    """
    if not erased:
        return rows
    read = read_positions(rows, layout) if layout else ()
    hidden = CsvRows()
    for piece in rows.pieces:
        hidden.add(erased.hide_cells(row, read) for row in csv_rows(piece))
    return hidden


@dataclass(frozen=True)
class CurrentAddresses:
    """The addresses that feedback about erased people is recorded with."""

    erased: Erased
    new_people: dict[str, str]
    """By token, the address of people whom the CRM shows with a newer grant than the erasure."""

    @classmethod
    def of(cls, events: Iterable[tuple[str, datetime]], erased: Erased, crm: Callable[[], Crm], mandator: str) -> Self:
        """Ask the CRM for new people with an erased address, where feedback may be about them.

        Args:
            events: address and time of each.
            erased: everybody who was erased.
            crm: opens the CRM; called only where it must be asked.
            mandator: whose feedback it is.

        Raises:
            CrmError: the CRM can't be read.
        """
        tokens = ((erased.address_token(address), at) for address, at in (events if erased else ()))
        wanted = {token for token, at in tokens if token in erased.times and at > erased.until[token]}
        return cls(erased, _new_people(crm(), mandator, erased, wanted) if wanted else {})

    def at(self, address: str, occurred_at: datetime) -> str:
        """Return the address that an event is recorded with: a token if it is about a person who was erased."""
        token = self.erased.address_token(address)
        if token not in self.erased.times:
            return address
        return self.new_people.get(token, token) if occurred_at > self.erased.until[token] else token


def without_erased(
    pending: PendingFeedback,
    before: UnmatchedFeedback,
    erased: Erased,
    crm: Callable[[], Crm],
    mandator: str,
) -> tuple[PendingFeedback, UnmatchedFeedback, UnmatchedFeedback]:
    """Return the pending and the unmatched feedback without that about erased people, and what stays of theirs.

    Of what happened after an erasure a token stays, and of all bounces: it suppresses the address until there is a
    newer consent. An unsubscribe of before says nothing that the erasure doesn't say.

    Raises:
        CrmError: the CRM can't be read.
    """
    if not erased:
        return pending, before, UnmatchedFeedback([], [])
    events: list[Bounce | Unsubscribe] = [
        *pending.bounces,
        *pending.unsubscribes,
        *before.bounces,
        *before.unsubscribes,
    ]
    addresses = CurrentAddresses.of(((event.address, event.occurred_at) for event in events), erased, crm, mandator)
    hidden = UnmatchedFeedback([], [])

    def bounces(events: Iterable[Bounce]) -> list[Bounce]:
        named = [replace(event, address=addresses.at(event.address, event.occurred_at)) for event in events]
        hidden.bounces.extend(event for event in named if is_token(event.address))
        return [event for event in named if not is_token(event.address)]

    def unsubscribes(events: Iterable[Unsubscribe]) -> list[Unsubscribe]:
        named = [replace(event, address=addresses.at(event.address, event.occurred_at)) for event in events]
        of_erased = [event for event in named if is_token(event.address)]
        hidden.unsubscribes.extend(
            replace(event, entity=None)
            for event in of_erased
            if event.address not in erased.times or event.occurred_at > erased.until[event.address]
        )
        return [event for event in named if not is_token(event.address)]

    return (
        replace(pending, bounces=bounces(pending.bounces), unsubscribes=unsubscribes(pending.unsubscribes)),
        UnmatchedFeedback(bounces(before.bounces), unsubscribes(before.unsubscribes)),
        hidden,
    )


def _new_people(crm: Crm, mandator: str, erased: Erased, tokens: set[str]) -> dict[str, str]:
    by_token: dict[str, str] = {}
    with crm.snapshot() as snapshot:
        for opt_in_id in snapshot.opt_in_ids(mandator):
            for people in consenting_people(snapshot, opt_in_id):
                columns = (people.addresses.tolist(), erased.address_tokens(people.addresses).tolist())
                by_token |= {
                    token: address
                    for address, token, consented_at in zip(*columns, people.consented_at, strict=True)
                    if token in tokens and consented_at > erased.until[token]
                }
    return by_token

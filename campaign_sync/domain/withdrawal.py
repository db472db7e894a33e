"""Withdrawals that were seen in the CRM once. They count until a newer consent, even where the CRM has lost them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from campaign_sync.domain.checks import CheckOutcome

CHECK_NAME = "withdrawals"
"""What the check is called, on the selection and at the gate."""

REFUSED_PEOPLE = 10
"""From so many people on, withdrawals that vanished refuse a list, if they are `REFUSED_PERCENT` of those known."""

REFUSED_PERCENT = 1


class KnownWithdrawal(NamedTuple):
    """A withdrawal that the CRM showed at some time. Entity and address are keyed pseudonyms."""

    entity: str
    address: str | None
    withdrawn_at: datetime
    missing_since: datetime | None = None
    """When somebody was first found whom the CRM shows as granted in spite of it; None while there is nobody."""


class ShownWithdrawal(NamedTuple):
    """A withdrawal that the CRM shows now, by the same pseudonyms."""

    entity: str
    address: str | None
    withdrawn_at: datetime | None


class ConsentingPerson(NamedTuple):
    """Somebody whom the CRM shows as granted now."""

    key: str
    """`entity_type:entity_id`."""
    address: str | None
    """Normalized."""
    entity_pseudonym: str
    address_pseudonym: str | None
    consented_at: datetime


class VanishedWithdrawal(NamedTuple):
    """Somebody whom the CRM shows as granted, and the known withdrawals that say otherwise."""

    person: ConsentingPerson
    withdrawals: Sequence[KnownWithdrawal]
    """The newest one first."""


@dataclass(frozen=True)
class WithdrawalReview:
    """What became of withdrawals that the CRM doesn't show any more."""

    vanished: Sequence[VanishedWithdrawal]
    superseded: frozenset[str]
    """Pseudonyms of the entities that consented again after their withdrawal."""


def updated_withdrawals(
    known: Mapping[str, KnownWithdrawal], shown: Iterable[ShownWithdrawal], now: datetime
) -> dict[str, KnownWithdrawal]:
    """The withdrawals that have to be remembered anew because of what the CRM shows, by entity.

    The newest time counts. One that is missing, or lies ahead, counts as the moment it was first seen: whoever consents
    after that has consented again. An address that the CRM has lost is kept.
    """
    changed: dict[str, KnownWithdrawal] = {}
    for each in shown:
        before = changed.get(each.entity, known.get(each.entity))
        at = each.withdrawn_at
        if at is None or at > now:
            at = before.withdrawn_at if before else now
        if before:
            at = max(at, before.withdrawn_at)
        after = KnownWithdrawal(each.entity, each.address or (before.address if before else None), at)
        if after != before:
            changed[each.entity] = after
    return changed


@dataclass(frozen=True)
class AbsentWithdrawals:
    """The known withdrawals of one opt-in that the CRM doesn't show at this moment."""

    by_entity: Mapping[str, KnownWithdrawal]
    by_address: Mapping[str, Sequence[KnownWithdrawal]]
    """Also of entities whose withdrawal the CRM still shows, where it has lost their address, or a newer withdrawal."""

    @classmethod
    def of(cls, known: Collection[KnownWithdrawal], shown: Collection[ShownWithdrawal]) -> Self:
        """Those of `known`, which has everything in `shown`, that aren't in `shown`."""
        entities = {each.entity for each in shown}
        times = {each.entity: each.withdrawn_at for each in known}
        covered: dict[str, datetime] = {}
        for each in shown:
            if each.address is not None:
                at = each.withdrawn_at or times[each.entity]
                covered[each.address] = max(at, covered.get(each.address, at))
        by_address: defaultdict[str, list[KnownWithdrawal]] = defaultdict(list)
        for one in known:
            if one.address is None:
                continue
            newest = covered.get(one.address)
            if newest is None or newest < one.withdrawn_at:
                by_address[one.address].append(one)
        return cls({one.entity: one for one in known if one.entity not in entities}, dict(by_address))

    def __bool__(self) -> bool:
        return bool(self.by_entity or self.by_address)

    def affect(self, entity: str, address: str | None) -> bool:
        """Whether one of them is about this entity, or about this address."""
        return entity in self.by_entity or address in self.by_address

    def review(self, people: Collection[ConsentingPerson]) -> WithdrawalReview:
        """Which of them vanished, and which were superseded by a newer consent.

        A withdrawal is its entity's, and of everybody who has its address and didn't consent after it. Whose entity
        consents again has superseded it for all of them, as in `Suppressed`.

        Args:
            people: everybody whom the CRM shows as granted for this opt-in and whom one of them concerns.
        """
        superseded = frozenset(
            one.entity_pseudonym
            for one in people
            if (own := self.by_entity.get(one.entity_pseudonym)) and own.withdrawn_at < one.consented_at
        )
        against = ((one, self._against(one, superseded)) for one in people)
        return WithdrawalReview([VanishedWithdrawal(one, known) for one, known in against if known], superseded)

    def _against(self, person: ConsentingPerson, superseded: Collection[str]) -> list[KnownWithdrawal]:
        own = self.by_entity.get(person.entity_pseudonym)
        of_address = self.by_address.get(person.address_pseudonym or "", ())
        concerning = {each.entity: each for each in (own, *of_address) if each}
        against = [
            each
            for each in concerning.values()
            if each.entity not in superseded and each.withdrawn_at >= person.consented_at
        ]
        return sorted(against, key=lambda each: each.withdrawn_at, reverse=True)


def check_withdrawals(opt_in_id: str, people: int, known: int, accept: str) -> CheckOutcome:
    """Whether few enough known withdrawals have vanished from the CRM. Who is concerned stays out in any case.

    Args:
        opt_in_id: the list's opt-in.
        people: whom the CRM shows as granted although they withdrew it, and who haven't consented since.
        known: how many withdrawals are remembered for it.
        accept: the command that accepts that they are gone.
    """
    if not people:
        return CheckOutcome(
            CHECK_NAME, True, f"no known withdrawal of {opt_in_id} has vanished ({known} are remembered)"
        )
    refused = people >= REFUSED_PEOPLE and people * 100 >= known * REFUSED_PERCENT
    found = (
        f"consent_event shows {people} {'person' if people == 1 else 'people'} as granted for {opt_in_id} whose "
        f"withdrawal it had before ({known} are remembered), and no newer consent; they stay out, and "
        "`campaign-sync why` names the reason for each"
    )
    remedy = f"add the lost events of kind withdrawn to consent_event again; if they are void: `{accept}`"
    return CheckOutcome(CHECK_NAME, False, f"{found}; {remedy}", warning=not refused)

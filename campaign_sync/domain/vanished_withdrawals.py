"""Withdrawals seen in the CRM. They apply until a newer consent, even if the CRM has lost them since."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.message import Message, join_messages

CHECK_NAME = "withdrawals"
"""The name of the check, on the selection and in the preflight."""

REFUSED_PEOPLE = 10
"""Vanished withdrawals of at least this number of people stop a list, if they are `REFUSED_PERCENT` of those known."""

REFUSED_PERCENT = 1


class KnownWithdrawal(NamedTuple):
    """A withdrawal that the CRM has shown. Entity and address are keyed pseudonyms."""

    entity: str
    address: str | None
    withdrawn_at: datetime
    missing_since: datetime | None = None
    """Since when the CRM shows a person as granted in spite of it; None if it shows none."""
    absent_since: datetime | None = None
    """Since when everybody who consents was compared with it because it is absent; None until then."""


class ShownWithdrawal(NamedTuple):
    """A withdrawal that the CRM shows now, with the same pseudonyms."""

    entity: str
    address: str | None
    withdrawn_at: datetime | None


class ConsentingPerson(NamedTuple):
    """A person whom the CRM shows as granted now."""

    key: str
    """`entity_type:entity_id`."""
    address: str | None
    """Normalized."""
    entity_pseudonym: str
    address_pseudonym: str | None
    consented_at: datetime


class VanishedWithdrawal(NamedTuple):
    """A person whom the CRM shows as granted, and the known withdrawals that contradict it."""

    person: ConsentingPerson
    withdrawals: Sequence[KnownWithdrawal]
    """Newest first."""


@dataclass(frozen=True)
class WithdrawalReview:
    """The review of withdrawals that the CRM doesn't show any more."""

    vanished: Sequence[VanishedWithdrawal]
    superseded: frozenset[str]
    """Pseudonyms of entities that consented again after their withdrawal."""


def updated_withdrawals(
    known: Mapping[str, KnownWithdrawal], shown: Iterable[ShownWithdrawal], now: datetime
) -> dict[str, KnownWithdrawal]:
    """Return the new or changed withdrawals to store because of what the CRM shows, by entity.

    The newest time counts. A missing or future time counts as the moment the withdrawal was first seen, so a later
    consent supersedes it. An address that the CRM has lost is kept.
    """
    changed: dict[str, KnownWithdrawal] = {}
    for withdrawal in shown:
        before = changed.get(withdrawal.entity, known.get(withdrawal.entity))
        at = withdrawal.withdrawn_at
        if at is None or at > now:
            at = before.withdrawn_at if before else now
        if before:
            at = max(at, before.withdrawn_at)
        after = KnownWithdrawal(withdrawal.entity, withdrawal.address or (before.address if before else None), at)
        if before and after[:3] == before[:3]:
            after = after._replace(absent_since=before.absent_since)
        if after != before:
            changed[withdrawal.entity] = after
    return changed


def with_refused(
    known: Mapping[str, KnownWithdrawal], refused: Iterable[KnownWithdrawal]
) -> dict[str, KnownWithdrawal]:
    """Return the new or changed withdrawals because of consents that are granted again without being accepted.

    Their withdrawals are mostly known. They aren't if no read in between compared withdrawals.

    Args:
        known: the known withdrawals, by entity.
        refused: their withdrawals; entity and address are both the pseudonym of the record, or of the address.
    """
    newest_of_address: dict[str, datetime] = {}
    for withdrawal in known.values():
        if withdrawal.address is not None:
            at = newest_of_address.get(withdrawal.address, withdrawal.withdrawn_at)
            newest_of_address[withdrawal.address] = max(at, withdrawal.withdrawn_at)
    changed: dict[str, KnownWithdrawal] = {}
    for withdrawal in refused:
        before, of_address = known.get(withdrawal.entity), newest_of_address.get(withdrawal.entity)
        if before is not None and before.withdrawn_at < withdrawal.withdrawn_at:
            changed[withdrawal.entity] = before._replace(withdrawn_at=withdrawal.withdrawn_at, absent_since=None)
        elif before is None and (of_address is None or of_address < withdrawal.withdrawn_at):
            changed[withdrawal.entity] = withdrawal
    return changed


@dataclass(frozen=True)
class AbsentWithdrawals:
    """The known withdrawals of an opt-in that the CRM doesn't show now."""

    by_entity: Mapping[str, KnownWithdrawal]
    by_address: Mapping[str, Sequence[KnownWithdrawal]]
    """Includes entities whose withdrawal the CRM still shows, if it has lost their address or a newer withdrawal."""

    @classmethod
    def of(cls, known: Collection[KnownWithdrawal], shown: Collection[ShownWithdrawal]) -> Self:
        """Return the withdrawals of `known`, a superset of `shown`, that aren't in `shown`."""
        entities = {withdrawal.entity for withdrawal in shown}
        times = {withdrawal.entity: withdrawal.withdrawn_at for withdrawal in known}
        covered: dict[str, datetime] = {}
        for current in shown:
            if current.address is not None:
                at = current.withdrawn_at or times[current.entity]
                covered[current.address] = max(at, covered.get(current.address, at))
        by_address: defaultdict[str, list[KnownWithdrawal]] = defaultdict(list)
        for withdrawal in known:
            if withdrawal.address is None:
                continue
            newest = covered.get(withdrawal.address)
            if newest is None or newest < withdrawal.withdrawn_at:
                by_address[withdrawal.address].append(withdrawal)
        absent = {withdrawal.entity: withdrawal for withdrawal in known if withdrawal.entity not in entities}
        return cls(absent, dict(by_address))

    def __bool__(self) -> bool:
        return bool(self.by_entity or self.by_address)

    def all(self) -> Iterator[KnownWithdrawal]:
        """Yield the withdrawals, some of them twice."""
        yield from self.by_entity.values()
        for of_address in self.by_address.values():
            yield from of_address

    def affect(self, entity: str, address: str | None) -> bool:
        """Return whether one of the withdrawals applies to this entity or this address."""
        return entity in self.by_entity or address in self.by_address

    def review(self, people: Collection[ConsentingPerson]) -> WithdrawalReview:
        """Return which withdrawals vanished, and which were superseded by a newer consent.

        A withdrawal applies to its entity, and to everybody with its address who didn't consent after it. A newer
        consent of the entity itself supersedes it for all of them, as in `Suppressed`.

        Args:
            people: everybody whom the CRM shows as granted for this opt-in and whom a withdrawal affects.
        """
        superseded = frozenset(
            person.entity_pseudonym
            for person in people
            if (own := self.by_entity.get(person.entity_pseudonym)) and own.withdrawn_at < person.consented_at
        )
        vanished = ((person, self._contradicting(person, superseded)) for person in people)
        return WithdrawalReview([VanishedWithdrawal(person, known) for person, known in vanished if known], superseded)

    def _contradicting(self, person: ConsentingPerson, superseded: Collection[str]) -> list[KnownWithdrawal]:
        own = self.by_entity.get(person.entity_pseudonym)
        of_address = self.by_address.get(person.address_pseudonym or "", ())
        by_entity = {withdrawal.entity: withdrawal for withdrawal in (own, *of_address) if withdrawal}
        contradicting = [
            withdrawal
            for withdrawal in by_entity.values()
            if withdrawal.entity not in superseded and withdrawal.withdrawn_at >= person.consented_at
        ]
        return sorted(contradicting, key=lambda withdrawal: withdrawal.withdrawn_at, reverse=True)


@dataclass(frozen=True)
class UndatedRegrants:
    """The consents of an opt-in that were withdrawn and are granted again without a newer date."""

    people: int = 0
    """Everybody who is left out because of it."""
    at_once: int = 0
    """How many consents came in such a mass that they look like a restored CRM; else 0."""
    states: int = 0
    """How many consents for the opt-in the CRM shows."""


def check_withdrawals(
    opt_in_id: str, people: int, known: int, accept: str, regrants: UndatedRegrants = UndatedRegrants()
) -> CheckOutcome:
    """Check that few known withdrawals have vanished from the CRM. The people concerned are left out in any case.

    Args:
        opt_in_id: the list's opt-in.
        people: the number of people whom the CRM shows as granted although they withdrew and haven't consented since.
        known: the number of known withdrawals of the opt-in.
        accept: the command that accepts that they are gone.
        regrants: the consents among them that are granted again without a newer date; they aren't part of `people`.
    """
    findings = [*_vanished(opt_in_id, people, known, accept), *_regranted(opt_in_id, regrants, accept)]
    if not findings:
        summary = Message(
            "no known withdrawal of {opt_in_id} has vanished ({known} are remembered)", opt_in_id=opt_in_id, known=known
        )
        return CheckOutcome(CHECK_NAME, True, summary)
    refused = people >= REFUSED_PEOPLE and people * 100 >= known * REFUSED_PERCENT
    return CheckOutcome(CHECK_NAME, False, join_messages(" · ", findings), warning=not (refused or regrants.at_once))


def _vanished(opt_in_id: str, people: int, known: int, accept: str) -> Iterator[str]:
    if people:
        yield Message(
            "consent_event shows {people} as granted for {opt_in_id} whose withdrawal it had before ({known} are "
            "remembered), and no newer consent; they stay out, and `campaign-sync why` names the reason for each; "
            "add the lost events of kind withdrawn to consent_event again; if they are void: {command}",
            people=_people(people),
            opt_in_id=opt_in_id,
            known=known,
            command=f"`{accept}`",
        )


def _regranted(opt_in_id: str, regrants: UndatedRegrants, accept: str) -> Iterator[str]:
    if regrants.at_once:
        yield Message(
            "{regranted} of {states} consents for {opt_in_id} were withdrawn, and the CRM shows them as granted again "
            "without a newer date, all within a day, as after a restore; none of them is accepted; restore the "
            "withdrawals in the CRM; if all of them are new consents: {command}",
            regranted=regrants.at_once,
            states=regrants.states,
            opt_in_id=opt_in_id,
            command=f"`{accept}`",
        )
    elif regrants.people:
        yield Message(
            "the CRM shows {people} as granted again for {opt_in_id} without a newer date, after a withdrawal; they "
            "stay out, and `campaign-sync why` names the reason for each; give the consents a newer date in the CRM; "
            "if all of them are new consents: {command}",
            people=_people(regrants.people),
            opt_in_id=opt_in_id,
            command=f"`{accept}`",
        )


def _people(count: int) -> Message:
    return Message("{count} person", count=count) if count == 1 else Message("{count} people", count=count)

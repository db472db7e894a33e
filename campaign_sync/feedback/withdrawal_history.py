"""The comparison of the withdrawals that the CRM shows with those that it has shown before."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.address_columns import usable_addresses
from campaign_sync.domain.suppression import SUPPRESSION_COLUMNS, SuppressionKind, entity_keys
from campaign_sync.domain.vanished_withdrawals import (
    AbsentWithdrawals,
    ConsentingPerson,
    KnownWithdrawal,
    ShownWithdrawal,
    WithdrawalReview,
    updated_withdrawals,
    with_refused,
)
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class ConsentingPeople:
    """A chunk of the people whose consent for an opt-in is granted now."""

    keys: "pd.Series[str]"
    """`entity_type:entity_id`."""
    addresses: "pd.Series[str]"
    """Normalized; missing where the CRM has no usable address."""
    consented_at: "pd.Series[pd.Timestamp]"


def consenting_people(
    crm: CrmSnapshot, opt_in_id: str, among: pd.DataFrame | None = None
) -> Iterator[ConsentingPeople]:
    """Yield everybody whose consent for an opt-in is granted now, in chunks of some thousand people.

    With `among` (columns `entity_type` and `entity_id`), others than these records may be left out.
    """
    for people in crm.consenting(opt_in_id, among):
        yield ConsentingPeople(entity_keys(people), usable_addresses(people["email"]), people["consent_at"])


@dataclass(frozen=True)
class WithdrawalComparison:
    """The remembered withdrawals of one opt-in, compared with the CRM."""

    known: int
    vanished: pd.DataFrame
    """One row for each person whom the CRM shows as consenting although they withdrew the consent and haven't granted
    it since: kind `remembered`, or `regranted` where the consent is granted again without a newer date. Columns
    `SUPPRESSION_COLUMNS`."""


class WithdrawalHistory:
    """The withdrawals of one opt-in that the CRM shows, beside those that are remembered.

    Args:
        state: the state database.
        mandator: a key of the configuration.
        opt_in_id: an opt-in of this mandator.
        suppressed: the suppressions that the CRM shows now, columns `SUPPRESSION_COLUMNS`.
        now: the present moment.
    """

    def __init__(self, state: State, mandator: str, opt_in_id: str, suppressed: pd.DataFrame, now: datetime) -> None:
        self._state, self._mandator, self._opt_in_id, self._now = state, mandator, opt_in_id, now
        shown = _shown(state, suppressed, opt_in_id)
        known = state.known_withdrawals.all(mandator, opt_in_id)
        self._had_vanished = any(withdrawal.missing_since for withdrawal in known.values())
        self._changed = updated_withdrawals(known, shown, now)
        self._refused = state.consent_observations.refused(opt_in_id)
        self._changed |= with_refused(known | self._changed, self._refused)
        self._known = known | self._changed
        self._absent = AbsentWithdrawals.of(self._known.values(), shown)
        self._people: list[ConsentingPerson] = []

    @property
    def lacks(self) -> bool:
        """Return whether the CRM lacks a remembered withdrawal, so that it must be asked who consents now."""
        return bool(self._absent)

    @property
    def needs_everybody(self) -> bool:
        """Return whether everybody who consents has to be compared, and not only those of a list.

        A withdrawal is absent with which they weren't compared yet, or others had vanished before.
        """
        unseen = any(withdrawal.absent_since is None for withdrawal in self._absent.all())
        return self.lacks and (unseen or self._had_vanished)

    def compare(self, people: ConsentingPeople) -> None:
        """Keep those of the people whom an absent withdrawal may concern."""
        if not self._absent:
            return
        pseudonym = self._state.pseudonyms.of
        moments = pd.DatetimeIndex(people.consented_at).to_pydatetime().tolist()
        columns = (people.keys.tolist(), people.addresses.tolist(), moments)
        for key, address, consented_at in zip(*columns, strict=True):
            usable = isinstance(address, str)
            pseudonyms = pseudonym(key), pseudonym(address) if usable else None
            if self._absent.affect(*pseudonyms):
                self._people.append(ConsentingPerson(key, address if usable else None, *pseudonyms, consented_at))

    def remember(self) -> None:
        """Remember the withdrawals that the CRM shows now."""
        self._state.known_withdrawals.remember(self._mandator, self._opt_in_id, list(self._changed.values()))

    def recall(self, *, everybody: bool = True, remember: bool = True) -> WithdrawalComparison:
        """Return the withdrawals that vanished from the CRM, after the consenting people have been compared.

        Args:
            everybody: whether everybody was compared; those of a list are enough unless `needs_everybody`.
            remember: whether the withdrawals that the CRM shows are remembered, and those of people who consented again
                are forgotten.
        """
        review = self._absent.review(self._people)
        if remember:
            self.remember()
            stored, opt_in = self._state.known_withdrawals, (self._mandator, self._opt_in_id)
            missing = {known.entity for withdrawal in review.vanished for known in withdrawal.withdrawals}
            absent = {known.entity for known in self._absent.all()}
            stored.forget(*opt_in, {entity: self._known[entity].withdrawn_at for entity in review.superseded})
            stored.mark_missing(*opt_in, missing, self._now, exactly=everybody or not self.lacks)
            stored.mark_absent(*opt_in, absent - review.superseded, self._now)
            reported = {refused.entity for refused in self._refused}
            self._state.consent_observations.mark_reported(self._opt_in_id, reported, self._now)
        frame = _vanished(review, self._opt_in_id, self._regranted(review))
        return WithdrawalComparison(len(self._known) - len(review.superseded), frame)

    def _regranted(self, review: WithdrawalReview) -> frozenset[str]:
        """Return the keys of those whose own consent, or their address's, was withdrawn and has got no date since."""
        grants = {
            (subject, vanished.person.key): vanished.person.consented_at
            for vanished in review.vanished
            for subject in (vanished.person.entity_pseudonym, vanished.person.address_pseudonym)
            if subject
        }
        undated = self._state.consent_observations.undated_regrants(
            self._opt_in_id, {(subject, at) for (subject, _), at in grants.items()}
        )
        return frozenset(key for (subject, key), at in grants.items() if (subject, at) in undated)


def add_vanished(
    crm: CrmSnapshot,
    state: State,
    mandator: str,
    opt_in_ids: Collection[str],
    suppressed: pd.DataFrame,
    now: datetime,
    *,
    remember: bool = True,
) -> pd.DataFrame:
    """Return the suppressions, and beside them people whose withdrawal of one of these opt-ins vanished from the CRM.

    With `remember`, all withdrawals that the CRM shows are remembered, also those of other opt-ins.
    """
    frames = [suppressed]
    for opt_in_id in sorted(set(opt_in_ids).union(suppressed["opt_in_id"].dropna() if remember else ())):
        if opt_in_id in opt_in_ids:
            frames.append(
                compare_withdrawals(crm, state, mandator, opt_in_id, suppressed, now, remember=remember).vanished
            )
        else:
            WithdrawalHistory(state, mandator, opt_in_id, suppressed, now).remember()
    return concat_suppressions(frames)


def compare_withdrawals(
    crm: CrmSnapshot,
    state: State,
    mandator: str,
    opt_in_id: str,
    suppressed: pd.DataFrame,
    now: datetime,
    *,
    remember: bool = True,
) -> WithdrawalComparison:
    """Compare the remembered withdrawals of an opt-in with the suppressions that the CRM shows now.

    With `remember`, the withdrawals that it shows are remembered.
    """
    memory = WithdrawalHistory(state, mandator, opt_in_id, suppressed, now)
    if memory.lacks:
        for people in consenting_people(crm, opt_in_id):
            memory.compare(people)
    return memory.recall(remember=remember)


def concat_suppressions(suppressed: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return several suppression frames as one."""
    filled = [frame for frame in suppressed if len(frame)]
    return pd.concat(filled, ignore_index=True) if len(filled) > 1 else (filled or list(suppressed))[0]


def _shown(state: State, suppressed: pd.DataFrame, opt_in_id: str) -> list[ShownWithdrawal]:
    pseudonym = state.pseudonyms.of
    of_entities = (suppressed["kind"] == SuppressionKind.UNSUBSCRIBE) & suppressed["entity_id"].notna()
    rows = suppressed[of_entities & (suppressed["opt_in_id"] == opt_in_id).fillna(value=False)]
    return [
        ShownWithdrawal(
            pseudonym(key),
            pseudonym(address) if isinstance(address, str) else None,
            since.to_pydatetime() if isinstance(since, pd.Timestamp) else None,
        )
        for key, address, since in zip(entity_keys(rows), rows["address"], rows["since"], strict=True)
    ]


def _vanished(review: WithdrawalReview, opt_in_id: str, regranted: Collection[str]) -> pd.DataFrame:
    people = [withdrawal.person for withdrawal in review.vanished]
    newest: list[KnownWithdrawal] = [withdrawal.withdrawals[0] for withdrawal in review.vanished]
    kinds, _, ids = zip(*(person.key.partition(":") for person in people), strict=True) if people else ((), (), ())
    return pd.DataFrame(
        {
            "kind": pd.Series([_kind(person.key in regranted) for person in people], dtype="str"),
            "address": pd.Series([person.address for person in people], dtype="str"),
            "entity_type": pd.Series(kinds, dtype="str"),
            "entity_id": pd.Series(ids, dtype="str"),
            "opt_in_id": pd.Series([opt_in_id] * len(people), dtype="str"),
            "since": pd.to_datetime([known.withdrawn_at for known in newest], utc=True).as_unit("us"),
            "source": pd.Series([None] * len(people), dtype="str"),
        },
        columns=list(SUPPRESSION_COLUMNS),
    )


def _kind(is_regranted: bool) -> str:
    return (SuppressionKind.REGRANTED if is_regranted else SuppressionKind.REMEMBERED).value

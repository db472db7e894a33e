"""The state database: everything the product remembers from day to day."""

import secrets
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from sqlalchemy import select

from campaign_sync.domain.erasure import ErasureKey
from campaign_sync.domain.keyed_digests import KeyedDigests
from campaign_sync.domain.pseudonym import Pseudonyms
from campaign_sync.errors import CampaignSyncError
from campaign_sync.storage.blocklist import BlockedAddresses
from campaign_sync.storage.consent_activities import ConsentActivities
from campaign_sync.storage.consent_memory import RememberedConsents
from campaign_sync.storage.consent_observations import ConsentObservations
from campaign_sync.storage.crm_write_backs import WriteBacks
from campaign_sync.storage.database import kept_open, open_database
from campaign_sync.storage.erased_rows import ErasedRows
from campaign_sync.storage.erasure_places import ErasurePlaces
from campaign_sync.storage.erasures import Erasures
from campaign_sync.storage.expired_rows import ExpiredRows
from campaign_sync.storage.feedback_imports import FeedbackImports
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.gauges import Gauges
from campaign_sync.storage.incidents import Incidents
from campaign_sync.storage.inquiries import Inquiries
from campaign_sync.storage.known_withdrawals import KnownWithdrawals
from campaign_sync.storage.list_drifts import ListDrifts
from campaign_sync.storage.list_plans import ListPlans
from campaign_sync.storage.list_unsubscribes import ListUnsubscribes
from campaign_sync.storage.locks import ListLocks
from campaign_sync.storage.people_links import PeopleLinks
from campaign_sync.storage.person_rows import PersonRows
from campaign_sync.storage.recipient_lists import RecipientListStates
from campaign_sync.storage.redactions import Redactions
from campaign_sync.storage.refused_withdrawals import RefusedWithdrawals
from campaign_sync.storage.replacement_history import ReplacementHistory
from campaign_sync.storage.replacements import Rejections, Replacements, Snapshots
from campaign_sync.storage.report_mails import ReportMails
from campaign_sync.storage.report_queries import ReportQueries
from campaign_sync.storage.response_imports import ResponseImports
from campaign_sync.storage.run_heartbeats import RunHeartbeats
from campaign_sync.storage.state_view import StateView, read_view
from campaign_sync.storage.tables import setting, size_acceptance, withdrawal_acceptance
from campaign_sync.storage.unsaved_memory import UnsavedFeedback, UnsavedObservations
from campaign_sync.storage.unshown_feedback import UnshownFeedback
from campaign_sync.storage.upsert import insert_missing
from campaign_sync.storage.vendor_unsubscribes import UnsubscribedRecipients


@dataclass(frozen=True)
class Acceptances:
    """The lists for which people accepted something, once, for runs."""

    sizes: frozenset[str] = frozenset()
    """By `--accept-size`."""
    withdrawals: frozenset[str] = frozenset()
    """By `--accept-withdrawals`."""


class State:
    """The state database, by its parts. See the class of each."""

    def __init__(
        self,
        url: str,
        *,
        remembers: bool = True,
        erasure_key: Callable[[], str] | None = None,
        files: FileStorage | None = None,
        erasure_copies: FileStorage | None = None,
    ) -> None:
        """Open the database, and create the tables of a new one.

        Args:
            url: of the database.
            remembers: whether what the CRM shows of consents is stored. A plan only judges it, and forgets it.
            erasure_key: returns the key by which erased people are recognized; None where there is none.
            files: the file storage, which knows erasures as well.
            erasure_copies: where they are kept once more.

        Raises:
            RevisionError: its tables belong to another version.
            StateError: it can't be opened.
        """
        self._url, self._engine = url, open_database(url)
        self._remembers, self._erasure_key = remembers, erasure_key
        self.feedback_imports = FeedbackImports(self._engine)
        self.response_imports = ResponseImports(self._engine)
        self.write_backs = WriteBacks(self._engine, lambda value: self.pseudonyms.of(value))
        self.blocked_addresses = BlockedAddresses(self._engine)
        self.unsubscribed_recipients = UnsubscribedRecipients(self._engine)
        self.refused_withdrawals = RefusedWithdrawals(self._engine)
        self.list_unsubscribes = ListUnsubscribes(self._engine)
        self.known_withdrawals = KnownWithdrawals(self._engine)
        self.consent_activities = ConsentActivities(self._engine)
        self.consent_observations = (
            ConsentObservations(self._engine) if remembers else UnsavedObservations(self._engine)
        )
        self.snapshots = Snapshots(self._engine)
        self.replacement_history = ReplacementHistory(self._engine)
        self.report_queries = ReportQueries(self._engine)
        self.replacements = Replacements(self._engine, lambda digest: self.digests.of(digest))
        self.rejections = Rejections(self._engine)
        self.locks = ListLocks(self._engine)
        self.recipient_lists = RecipientListStates(self._engine)
        self.list_drifts = ListDrifts(self._engine)
        self.list_plans = ListPlans(self._engine)
        self.heartbeats = RunHeartbeats(self._engine, self.locks)
        self.incidents = Incidents(self._engine)
        self.report_mails = ReportMails(self._engine)
        self.gauges = Gauges(self._engine)
        self.expired_rows = ExpiredRows(self._engine)
        self.erasure_places = ErasurePlaces(self._engine)
        self.erased_rows = ErasedRows(self._engine)
        self.redactions = Redactions(self._engine)
        self.person_rows = PersonRows(self._engine)
        self.people_links = PeopleLinks(self._engine, lambda value: self.pseudonyms.of(value))
        self.erasures = Erasures(self._engine, erasure_key, files, erasure_copies)
        self.inquiries = Inquiries(self._engine, lambda value: self.pseudonyms.of(value), self._hashed_pseudonym)

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """Pseudonyms of people, by a key that never leaves this database."""
        new, stored = secrets.token_bytes(32), select(setting.c.value).where(setting.c.name == "pseudonym_key")
        if not self._remembers:  # without a key nothing has a pseudonym yet, so any will do
            with self._engine.connect() as connection:
                return Pseudonyms(connection.execute(stored).scalar() or new)
        with self._engine.begin() as connection:
            insert_missing(connection, setting, [{"name": "pseudonym_key", "value": new}])
            return Pseudonyms(connection.execute(stored).scalar_one())

    @cached_property
    def digests(self) -> KeyedDigests:
        """What is stored in place of digests of people's rows: by the key of erasures, where it can be read.

        Those that were made before it was configured, with the key of the pseudonyms, are compared as well.
        """
        keys = [self.pseudonyms.derived_key("digests").encode()]
        with suppress(CampaignSyncError, ValueError):  # what needs the key refuses by itself
            keys = [*([ErasureKey(self._erasure_key()).of_digests] if self._erasure_key else ()), *keys]
        return KeyedDigests(keys)

    def _hashed_pseudonym(self, pseudonym: str) -> str | None:
        """Return the hash of a pseudonym by the key of erasures; None without a usable one."""
        with suppress(CampaignSyncError, ValueError):
            return ErasureKey(self._erasure_key()).of_pseudonym(pseudonym) if self._erasure_key else None
        return None

    def consent_memory(self, *, accept_undated: bool = False, read_only: bool = False) -> RememberedConsents:
        """Return the memory for a CRM that shows states of consents. See `RememberedConsents`.

        Args:
            accept_undated: whether `crm.undated_regrant` is `accept`.
            read_only: whether it is for answering a question, and nothing may be remembered.
        """
        feedback = UnshownFeedback if self._remembers else UnsavedFeedback
        unshown = feedback(self._engine, self.pseudonyms.of)
        return RememberedConsents(
            self.consent_observations,
            unshown,
            self.pseudonyms.of,
            accept_undated=accept_undated,
            read_only=read_only,
        )

    def inherit_acceptances(self, died: str, retry: str) -> None:
        """Let what people accepted for a run whose process died hold for its retry by Dagster, as if it were the run.

        Args:
            died: the run for which it was accepted, or a retry that inherited it.
            retry: the run that does what is left of its work.
        """
        with self._engine.begin() as connection:
            for table in (size_acceptance, withdrawal_acceptance):
                accepted = connection.execute(select(table).where(table.c.run_id == died)).mappings().all()
                insert_missing(connection, table, [{**row, "run_id": retry} for row in accepted])

    def acceptances_of(self, mandator: str, run_ids: Collection[str]) -> Acceptances:
        """Return what people accepted for these runs, without withdrawals that were forgotten by it already."""
        sizes, withdrawals = (
            select(table.c.list).where(table.c.mandator == mandator, table.c.run_id.in_(run_ids))
            for table in (size_acceptance, withdrawal_acceptance)
        )
        unused = withdrawals.where(withdrawal_acceptance.c.withdrawals.is_(None))
        with self._engine.connect() as connection:
            accepted = (frozenset(connection.execute(query).scalars()) for query in (sizes, unused))
            return Acceptances(*accepted)

    def view(self) -> StateView:
        """Return the state of all mandators and lists at one moment. See `StateView` for what agrees with what."""
        return read_view(self._engine, self.locks)

    def kept_open(self) -> AbstractContextManager[None]:
        """Return a context for a run, with its many transactions, within which a file stays open: see `SqliteFile`."""
        return kept_open(self._url)

    def close(self) -> None:
        """Close the database; the connections stay for the next one in this process that opens it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

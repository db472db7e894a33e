"""`campaign-sync check`: tries the configuration against the live vendor and the CRM, and prints all findings.

Nothing is changed. Only a list that was refused as an opt-in list is probed again with the canary, without a trace.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from sqlalchemy.engine import make_url

from campaign_sync.cli.documents import CheckDocument, Finding
from campaign_sync.cli.list_usage import mailings_by_list, unsubscribe_lists_of
from campaign_sync.cli.log_warnings import collected_warnings
from campaign_sync.config import (
    Configuration,
    FeedbackSettings,
    SqlSettings,
    UnavailableError,
    unavailable_secrets,
)
from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.mirror.retention import remove_copies
from campaign_sync.crm.needs import crm_needs
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.crm.sql.open import is_copied
from campaign_sync.crm.sql.table_samples import sample_tables
from campaign_sync.distribution import manual_page
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.approval import check_approval
from campaign_sync.domain.checks import check_consents, check_list_attributes
from campaign_sync.domain.consent import GRANTING
from campaign_sync.domain.erasure import Erasure
from campaign_sync.domain.feedback import MAILING_UNSUBSCRIBES
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.feedback_fetcher import open_delivered_files
from campaign_sync.optimizely.client import Optimizely, connect_mandator
from campaign_sync.optimizely.errors import RefusedError
from campaign_sync.optimizely.services import ClosedLoopReader
from campaign_sync.replacement.key_attributes import search_read_columns
from campaign_sync.replacement.list_approval import check_list_approval, how_to_approve, read_list_record
from campaign_sync.replacement.list_kind_probe import known_opt_in_list, probe_list_kind
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.replacement.mailing_interlock import MAILING_TYPES
from campaign_sync.replacement.selected_people import list_opt_in
from campaign_sync.reports.publication import FOLDER as REPORTS
from campaign_sync.storage.database import READY, probe_database
from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.open import open_copies, open_state
from campaign_sync.storage.private_files import open_to_others
from campaign_sync.storage.state import State

_A_WEEK = timedelta(days=7)


@dataclass
class _Findings:
    """What was tried, and how it went; `passed` is None if nothing has to be corrected, but something to be known."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, place: str, passed: bool | None, summary: str) -> None:
        self.findings.append(Finding(place=place, passed=passed, summary=summary))

    @contextmanager
    def expected_errors(self, place: str) -> Iterator[None]:
        """Turn an expected error within the context into a finding at `place`."""
        try:
            yield
        except CampaignSyncError as error:
            self.add(place, False, str(error))

    @contextmanager
    def warnings(self, place: str, logger_name: str) -> Iterator[None]:
        """Turn the warnings of a logger within the context into findings at `place`."""
        with collected_warnings(logger_name) as messages:
            try:
                yield
            finally:
                for message in messages:
                    self.add(place, None, message)


def check_everything(configuration: Configuration, console: Console) -> bool:
    """Print a line for everything that was tried. Returns whether nothing has to be corrected."""
    document = find_problems(configuration, console)
    signs = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("!", "yellow")}
    # Folded, not cut off: a long line ends with what has to be corrected.
    columns = ("", Column("where", overflow="fold"), Column("found", overflow="fold"))
    table = Table(*columns, title="What was found", title_justify="left")
    for finding in document.findings:
        table.add_row(signs[finding.passed], Text(finding.place), Text(finding.summary))
    console.print(table)
    return document.passed


def find_problems(configuration: Configuration, console: Console) -> CheckDocument:
    """Try everything, and return how it went; the console shows meanwhile that something is done."""
    findings = _Findings()
    with ExitStack() as opened, console.status("Asking vendor and CRM"):
        _check(configuration, findings, opened)
    passed = all(finding.passed is not False for finding in findings.findings)
    return CheckDocument(passed=passed, findings=tuple(findings.findings))


def _check(configuration: Configuration, findings: _Findings, opened: ExitStack) -> None:
    _check_settings(configuration, findings)
    state_is_ready = _check_storage(configuration, findings)
    findings.add("alarms.heartbeat_url", *_heartbeat(configuration))
    state: State | None = None
    crm: CrmSnapshot | None = None
    with findings.expected_errors("crm"):
        state = opened.enter_context(open_state(configuration))
        # Nothing is remembered of what the CRM shows: a mapping that is only tried may be wrong.
        accepts = configuration.crm.undated_regrant == "accept"
        port = open_crm(configuration, state.consent_memory(accept_undated=accepts, read_only=True))
        exports = [mandator.crm_export for mandator in configuration.mandators.values() if mandator.crm_export]
        with findings.warnings("crm", "campaign_sync.crm"):
            port.check(exports=any(export.table for export in exports))
        findings.add("crm", True, _answer(configuration))
        if limits := port.limits_left():
            findings.add("crm", True, limits)
        _check_tables(configuration, findings)
        crm = opened.enter_context(port.snapshot())
        if times := crm.copy_times:
            summary = f"its people and lists are of {_utc(times.people)}, its consents of {_utc(times.consents)}"
            findings.add("crm", True, summary)
    if state:
        _check_erasures(configuration, state, findings)
    for mandator, mandator_settings in configuration.mandators.items():
        place = f"mandators.{mandator}"
        lists = [list_settings(configuration, mandator, name) for name in mandator_settings.lists]
        vendor: Optimizely | None = None
        missing = unavailable_secrets(mandator_settings)
        for problem in missing:
            findings.add(place, False, problem)
        with suppress(UnavailableError) if missing else findings.expected_errors(place):
            vendor = opened.enter_context(connect_mandator(configuration, mandator))
            findings.add(place, True, f"logged in to mandator {mandator_settings.mandator_id}")
            for settings in lists:
                _check_list(settings, vendor, findings)
                with findings.expected_errors(_place(settings)):
                    _check_approval(settings, vendor, state if state_is_ready else None, findings)
                    _check_kind(settings, vendor, state if state_is_ready else None, findings)
            _check_feedback(mandator, mandator_settings.feedback, vendor, findings)
            if mandator_settings.mailings.watch:
                _check_mailings(mandator, lists, vendor, findings)
        for settings in lists if crm else ():
            with findings.expected_errors(_place(settings)):
                _check_exclusions(settings, crm, findings)
                _check_selection(settings, crm, findings)
                if vendor and (finding := unsubscribe_lists_of(settings, vendor, crm)):
                    findings.add(_place(settings), *finding)


def _check_settings(configuration: Configuration, findings: _Findings) -> None:
    """Report the mandators that are broken, and the secrets of alarms and telemetry that can't be read."""
    for name, broken in configuration.broken_mandators.items():
        for problem in broken.problems:
            findings.add(f"mandators.{name}", False, problem)
    for section in ("alarms", "telemetry"):
        for problem in unavailable_secrets(getattr(configuration, section)):
            findings.add(section, False, problem)


def _check_erasures(configuration: Configuration, state: State, findings: _Findings) -> None:
    """Report whether erased people can be recognized. Without a key and erasures there is nothing to report."""
    erasures: Sequence[Erasure] = ()
    with findings.expected_errors("erasure.key"):
        erasures = state.erasures.everything()
        if erasures or configuration.erasure.key:
            state.erasures.key()
            findings.add("erasure.key", True, f"a key is set, and {len(erasures)} erasures were made with it")
    with findings.expected_errors("erasure.copies"):
        if configuration.erasure.copies:
            findings.add("erasure.copies", True, open_copies(configuration.erasure.copies).probe())
        elif erasures:
            findings.add(
                "erasure.copies",
                True,
                "erasures are in the state database and storage.frames only: after a restore of both together erase "
                "again who was erased since the backup",
            )


def _answer(configuration: Configuration) -> str:
    if isinstance(configuration.crm, FilesSettings):
        return "the newest delivery is complete, and feedback can be left for the CRM"
    if not isinstance(configuration.crm, SqlSettings):
        return "the CRM answers, and what the configuration names can be read and changed there"
    is_mapped = configuration.crm.is_mapped
    tables = "every table that is mapped" if is_mapped else "the contract's tables"
    return f"the CRM answers and has {tables}"


def _check_tables(configuration: Configuration, findings: _Findings) -> None:
    """Try every query of a CRM that is mapped, and show what it returns without anything of the people in it.

    Its people are copied anew after that: what was corrected in the CRM a minute ago is seen.
    """
    if isinstance(configuration.crm, SqlSettings) and is_copied(configuration.crm):
        with suppress(OSError):  # an older copy is used, and its age shown
            remove_copies(Path(configuration.storage.crm_copies))
        for sample in sample_tables(configuration.crm, crm_needs(configuration)):
            findings.add(sample.place, True if sample.is_understood else None, sample.summary)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _check_storage(configuration: Configuration, findings: _Findings) -> bool:
    """Check where the product writes to. Returns whether the state database has the tables of this version."""
    state_is_ready = False
    with findings.expected_errors("storage.state_url"):
        summary = probe_database(configuration.storage.state_url.get_secret_value())
        findings.add("storage.state_url", True, summary)
        state_is_ready = summary == READY
    with findings.expected_errors("storage.frames"):
        files = FileStorage(configuration.storage.frames)
        findings.add("storage.frames", True, files.probe())
        _check_old_versions(files, findings)
    _check_privacy(configuration, findings)
    findings.add("retention", True, f"what is older is purged: {configuration.retention.summary}")
    if path := configuration.telemetry.prometheus_file:
        writable = os.access(Path(path).parent, os.W_OK)
        summary = (
            "its folder can be written to"
            if writable
            else "its folder is missing or closed to this user; create it, or let this user write to it"
        )
        findings.add("telemetry.prometheus_file", writable, summary)
    return state_is_ready


def _check_old_versions(files: FileStorage, findings: _Findings) -> None:
    """Say how long a store keeps files that were replaced or removed, as far as it says so."""
    manual = manual_page("security.md")
    if files.keeps_unknown_versions:
        findings.add("storage.frames", None, f"whether this store keeps removed files isn't asked: {manual}")
    try:
        old = files.old_versions()
    except FileStorageError as error:
        findings.add("storage.frames", None, error.message)
        return
    if old and old.unlimited:
        findings.add("storage.frames", None, f"the bucket keeps what is removed, and {old.remedy}: {manual}")
    elif old:
        findings.add("storage.frames", True, f"the bucket keeps what is removed: {old.limit}")


def _check_privacy(configuration: Configuration, findings: _Findings) -> None:
    """Name folders and files with people that other users of this machine can read: they keep the modes they have."""
    state, storage = make_url(configuration.storage.state_url.get_secret_value()), configuration.storage
    places = {"storage.crm_copies": Path(storage.crm_copies)}
    if "://" not in storage.frames:
        places["storage.frames"] = Path(storage.frames)
    if state.get_backend_name() == "sqlite" and state.database:
        places["storage.state_url"] = Path(state.database)
    for place, path in places.items():
        try:
            entries = open_to_others(path, public=[REPORTS])
        except OSError as error:
            findings.add(place, None, f"{error.filename} can't be examined: {error.strerror}; correct its owner")
            continue
        if entries:
            more = f" and {len(entries) - 1:,} more" if len(entries) > 1 else ""
            tops = dict.fromkeys(
                path / entry.relative_to(path).parts[0] if entry != path else path for entry in map(Path, entries)
            )
            findings.add(
                place,
                None,
                f"other users of this machine can read or enter {entries[0]}{more}, with data of people; to close it: "
                f"`chmod -R go= {shlex.join(map(str, tops))}`",
            )


def _heartbeat(configuration: Configuration) -> tuple[bool | None, str]:
    """Return whether anything outside notices that alarms have stopped. Nothing is sent."""
    if configuration.alarms.heartbeat_url is None:
        return None, (
            "nothing outside notices if alarms stop, because Dagster's daemon is dead or the definitions can't be "
            "loaded; a receiver named here would"
        )
    if not any(settings.automation.alarms for settings in configuration.mandators.values()):
        return None, "no heartbeat is sent, because the alarms of every mandator are switched off (automation.alarms)"
    return (
        True,
        "a heartbeat is sent there every minute in which alarms work; try it with `campaign-sync alarms --test`",
    )


def _place(settings: ListSettings) -> str:
    """Return the place of a list in the configuration file."""
    return f"mandators.{settings.mandator}.lists.{settings.name}"


def _check_list(settings: ListSettings, vendor: Optimizely, findings: _Findings) -> None:
    place, list_id = _place(settings), settings.recipient_list_id
    with findings.expected_errors(place):
        attributes = check_list_attributes(settings.schema, vendor.recipient_lists.attribute_names(list_id))
        held = vendor.recipients.count(list_id)
        findings.add(place, attributes.passed, attributes.summary)
        findings.add(place, True, f"recipient list {list_id} is “{vendor.recipient_lists.name(list_id)}”, {held} in it")
        if vendor.recipient_lists.is_test_list(list_id):
            findings.add(place, None, "it is a test list")
        if held:
            _check_key_attributes(settings, vendor, findings)


def _check_key_attributes(settings: ListSettings, vendor: Optimizely, findings: _Findings) -> None:
    """Check whether proofs can compare recipient ids and addresses, which only a list with recipients shows."""

    def addresses(texts: Sequence[str]) -> int:
        return sum(usable_address(text) is not None for text in texts)

    place, columns = _place(settings), search_read_columns(settings, vendor, addresses, addresses)
    names = {"recipient ids": columns.id_attribute, "addresses": columns.address_attribute}
    if given := " and ".join(f"{what} (as “{name}”)" for what, name in names.items() if name):
        findings.add(place, True, f"the list gives out {given}, so proofs compare them")
    if withheld := " and ".join(what for what, name in names.items() if not name):
        remedy = "ask the vendor's support for the name of that attribute" + (
            "" if columns.id_attribute else f", and set {place}.id_attribute to the one for ids"
        )
        findings.add(place, None, f"the list doesn't give out {withheld}, so proofs don't compare them; {remedy}")


def _check_approval(settings: ListSettings, vendor: Optimizely, state: State | None, findings: _Findings) -> None:
    """Say where a replacement would be refused until a plan is approved."""
    if settings.recipient_list.approval == "always":
        by_itself = settings.mandator_settings.automation.repair
        then = "then it is applied" if by_itself else "then `campaign-sync apply PLAN` has to be run: repair is off"
        summary = f"approval is always: every run stores a plan and waits until a person approves it; {then}"
        findings.add(_place(settings), None, summary)
        return
    if state:
        record = read_list_record(settings, state)
        outcome, _ = check_list_approval(settings, vendor, state, record, None, accepted=None, replaying=False)
    else:
        held, mode = vendor.recipients.count(settings.recipient_list_id), settings.recipient_list.approval
        moment = read_list_record(settings, None).moment
        outcome, _ = check_approval(mode, moment, held, None, (), None, how_to_approve(settings))
    if not outcome.passed:
        findings.add(_place(settings), None, f"approval: {outcome.summary}")


def _check_kind(settings: ListSettings, vendor: Optimizely, state: State | None, findings: _Findings) -> None:
    """Probe a list that was refused as an opt-in list once more; no other list is touched."""
    place, canary_setting = _place(settings), f"mandators.{settings.mandator}.canary_address"
    has_canary = settings.mandator_settings.canary_address is not None
    if not has_canary:
        findings.add(
            place,
            None,
            "the API doesn't say whether it is a regular list, so make sure of that in Campaign. With a "
            f"{canary_setting} every replacement would find out",
        )
    if state is None or known_opt_in_list(settings, state.recipient_lists) is None:
        return
    if not has_canary:
        remedy = f"set {canary_setting} and check again, or name a regular list"
        findings.add(place, False, f"a canary has shown it to be an opt-in list; {remedy}")
        return
    with state.locks.acquire(settings.recipient_list_id, "campaign-sync check"):
        outcome = probe_list_kind(settings, vendor, state.recipient_lists, datetime.now(UTC))
    findings.add(place, outcome.passed, outcome.summary)


def _check_mailings(mandator: str, lists: Sequence[ListSettings], vendor: Optimizely, findings: _Findings) -> None:
    place = f"mandators.{mandator}.mailings"
    try:
        vendor.mailings.ids_in_status(MAILING_TYPES[0], "SENDING")
    except RefusedError as error:
        findings.add(place, False, f"{error} If the account lacks MailingWebservice, set {place}.watch: false")
    else:
        findings.add(place, True, "mailings can be watched")
        uses = mailings_by_list(vendor, [settings.recipient_list_id for settings in lists])
        for settings in lists:
            findings.add(_place(settings), *uses[settings.recipient_list_id])


def _check_feedback(mandator: str, feedback: FeedbackSettings, vendor: Optimizely, findings: _Findings) -> None:
    """Check whether each reader may be called, or each kind of file is delivered."""
    place = f"mandators.{mandator}.feedback"
    if feedback.reader(MAILING_UNSUBSCRIBES) and not feedback.reader(ClosedLoopReader.UNSUBSCRIBES):
        findings.add(
            place,
            None,
            f"{MAILING_UNSUBSCRIBES} lacks unsubscribes that name no mailing or an old one; add "
            f"{ClosedLoopReader.UNSUBSCRIBES.value} to readers",
        )
    if feedback.files:
        with findings.expected_errors(place), open_delivered_files(feedback.files) as source:
            for name, reader in feedback.readers.items():
                delivered = source.files(reader.files or "")
                summary = "no file has been delivered yet"
                if delivered:
                    files = "1 file" if len(delivered) == 1 else f"{len(delivered)} files"
                    summary = f"{files}, the newest of {delivered[-1].modified_at:%Y-%m-%d %H:%M} UTC"
                findings.add(place, True if delivered else None, f"{name}: {summary}")
        return
    for name in feedback.readers:
        with findings.expected_errors(place):
            now = vendor.closed_loop.current_time()
            rows = vendor.closed_loop.read(ClosedLoopReader(name), now - _A_WEEK, now, 0, 1)
            summary = "has rows of the last week" if rows else "may be called, and has no rows of the last week"
            findings.add(place, True if rows else None, f"{name} {summary}")


def _check_selection(settings: ListSettings, crm: CrmSnapshot, findings: _Findings) -> None:
    place, opt_in = _place(settings), list_opt_in(crm, settings)
    columns = sorted(set(settings.schema.attributes.values()))
    people = granted = 0
    for chunk in crm.select(settings.pick, opt_in.opt_in_id, columns):
        people += len(chunk)
        granted += int(chunk["consent_kind"].isin(GRANTING).sum())
    summary = f"{settings.pick_title} names {people}, {granted} of them with {opt_in.opt_in_id}"
    consents = check_consents(crm.consent_rows(opt_in.opt_in_id))
    if not consents.passed:
        findings.add(place, None if consents.warning else False, consents.summary)
    findings.add(place, people > 0, summary if people else f"{summary}; correct select, or who is in it")


def _check_exclusions(settings: ListSettings, crm: CrmSnapshot, findings: _Findings) -> None:
    """Check whether each exclusion can be read, and whether it has any members at all."""
    for place, pick in settings.exclusions.items():
        with findings.expected_errors(place):
            records = sum(map(len, crm.members(pick)))
            findings.add(place, True if records else None, f"the {pick.title} excludes {records}")

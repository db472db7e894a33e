"""Tries a configuration against the live vendor and the CRM, and tells all findings at once.

Nothing is changed, but for a list that was refused for good: there a canary is tried again, and leaves no trace.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaign_sync.cli.list_usage import mailings_by_list, unsubscribe_lists_of
from campaign_sync.config import Configuration, FeedbackSettings
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.address import usable_address
from campaign_sync.domain.checks import check_consents, check_list_attributes
from campaign_sync.domain.consent import GRANTING
from campaign_sync.domain.feedback import MAILING_UNSUBSCRIBES
from campaign_sync.errors import CampaignSyncError
from campaign_sync.feedback.feedback_fetcher import open_delivered_files
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError
from campaign_sync.optimizely.services import ClosedLoopReader
from campaign_sync.orchestration.assets.selection import list_opt_in
from campaign_sync.orchestration.resources import Resources
from campaign_sync.replacement.key_attributes import search_read_columns
from campaign_sync.replacement.list_kind_probe import known_opt_in_list, probe_list_kind
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.replacement.mailing_interlock import MAILING_TYPES
from campaign_sync.storage.database import READY, probe_database
from campaign_sync.storage.files import FileStorage

_A_WEEK = timedelta(days=7)


@dataclass
class _Findings:
    """What was tried, and what came of it; `good` is None for what needn't be mended but should be known."""

    lines: list[tuple[str, bool | None, str]] = field(default_factory=list)

    def add(self, place: str, good: bool | None, found: str) -> None:
        self.lines.append((place, good, found))

    @contextmanager
    def trying(self, place: str) -> Iterator[None]:
        """An expected error within the context is a finding at `place`."""
        try:
            yield
        except CampaignSyncError as error:
            self.add(place, False, str(error))


def check_everything(configuration: Configuration, console: Console) -> bool:
    """Print a line per thing tried. Returns whether nothing has to be mended."""
    findings = _Findings()
    ports = Resources(configuration)
    try:
        with console.status("Asking vendor and CRM"):
            _check(configuration, ports, findings)
    finally:
        ports.close()
    signs = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("!", "yellow")}
    # Folded, not cut off: at the end of a long line stands what has to be mended.
    columns = ("", Column("where", overflow="fold"), Column("found", overflow="fold"))
    table = Table(*columns, title="What was found", title_justify="left")
    for place, good, found in findings.lines:
        table.add_row(signs[good], Text(place), Text(found))
    console.print(table)
    return all(good is not False for _, good, _ in findings.lines)


def _check(configuration: Configuration, ports: Resources, findings: _Findings) -> None:
    storage = configuration.storage
    state_is_there = False
    with findings.trying("storage.state_url"):
        found = probe_database(storage.state_url.get_secret_value())
        findings.add("storage.state_url", True, found)
        state_is_there = found == READY
    with findings.trying("storage.frames"):
        findings.add("storage.frames", True, FileStorage(storage.frames).probe())
    if path := configuration.telemetry.prometheus_file:
        writable = os.access(Path(path).parent, os.W_OK)
        found = (
            "its folder can be written to" if writable else "its folder is missing or closed to this user; mend that"
        )
        findings.add("telemetry.prometheus_file", writable, found)
    crm_answers = False
    with findings.trying("crm"):
        exports = [one.crm_export for one in configuration.mandators.values() if one.crm_export]
        ports.crm.check(exports=any(one.table for one in exports))
        findings.add("crm", True, "the CRM answers and has the contract's tables")
        crm_answers = True
    for mandator, settings in configuration.mandators.items():
        place = f"mandators.{mandator}"
        targets = [list_settings(configuration, mandator, name) for name in settings.lists]
        vendor: Optimizely | None = None
        with findings.trying(place):
            vendor = ports.vendor(mandator)
            findings.add(place, True, f"logged in to mandator {settings.mandator_id}")
            for one in targets:
                _check_list(one, vendor, findings)
                with findings.trying(f"{place}.lists.{one.name}"):
                    _check_kind(one, vendor, ports if state_is_there else None, findings)
            _check_feedback(mandator, settings.feedback, vendor, findings)
            if settings.mailings.watch:
                _check_mailings(mandator, targets, vendor, findings)
        for one in targets if crm_answers else ():
            with findings.trying(f"{place}.lists.{one.name}"):
                crm = ports.crm_snapshot(mandator)
                _check_selection(one, crm, findings)
                if vendor and (finding := unsubscribe_lists_of(one, vendor, crm)):
                    findings.add(f"{place}.lists.{one.name}", *finding)


def _check_list(one: ListSettings, vendor: Optimizely, findings: _Findings) -> None:
    place, list_id = f"mandators.{one.mandator}.lists.{one.name}", one.recipient_list_id
    with findings.trying(place):
        attributes = check_list_attributes(one.schema, vendor.recipient_lists.attribute_names(list_id))
        held = vendor.recipients.count(list_id)
        findings.add(place, attributes.passed, attributes.summary)
        findings.add(place, True, f"recipient list {list_id} is “{vendor.recipient_lists.name(list_id)}”, {held} in it")
        if vendor.recipient_lists.is_test_list(list_id):
            findings.add(place, None, "it is a test list")
        if held:
            _check_key_attributes(one, vendor, findings, place)


def _check_key_attributes(one: ListSettings, vendor: Optimizely, findings: _Findings, place: str) -> None:
    """Whether proofs of the list can compare recipient ids and addresses. Of an empty list only the first one shows."""

    def addresses(texts: Sequence[str]) -> int:
        return sum(usable_address(text) is not None for text in texts)

    found = search_read_columns(one, vendor, addresses, addresses)
    names = {"recipient ids": found.id_attribute, "addresses": found.address_attribute}
    if given := " and ".join(f"{what} (as “{name}”)" for what, name in names.items() if name):
        findings.add(place, True, f"the list gives out {given}, so proofs compare them")
    if withheld := " and ".join(what for what, name in names.items() if not name):
        remedy = "ask the vendor's support for the name of that attribute" + (
            "" if found.id_attribute else f", and set {place}.id_attribute to the one for ids"
        )
        findings.add(place, None, f"the list doesn't give out {withheld}, so proofs don't compare them; {remedy}")


def _check_kind(one: ListSettings, vendor: Optimizely, ports: Resources | None, findings: _Findings) -> None:
    """A list that was refused for good gets its second chance here; no other is touched."""
    place = f"mandators.{one.mandator}.lists.{one.name}"
    if one.mandator_settings.canary_address is None:
        findings.add(
            place,
            None,
            "you vouch that it is a regular list, for the API doesn't say: look that up in Campaign. With a "
            f"mandators.{one.mandator}.canary_address every replace would find out",
        )
    if ports is None or known_opt_in_list(one, ports.state.recipient_lists) is None:
        return
    if one.mandator_settings.canary_address is None:
        remedy = f"set mandators.{one.mandator}.canary_address and check again, or name a regular list"
        findings.add(place, False, f"a canary has shown it to be an opt-in list; {remedy}")
        return
    with ports.state.locks.acquire(one.recipient_list_id, "campaign-sync check"):
        outcome = probe_list_kind(one, vendor, ports.state.recipient_lists, datetime.now(UTC))
    findings.add(place, outcome.passed, outcome.summary)


def _check_mailings(mandator: str, targets: Sequence[ListSettings], vendor: Optimizely, findings: _Findings) -> None:
    place = f"mandators.{mandator}.mailings"
    try:
        vendor.mailings.ids_in_status(MAILING_TYPES[0], "SENDING")
    except RefusedError as error:
        findings.add(place, False, f"{error} If the account lacks MailingWebservice, set {place}.watch: false")
    else:
        findings.add(place, True, "mailings can be watched")
        used = mailings_by_list(vendor, [one.recipient_list_id for one in targets])
        for one in targets:
            findings.add(f"mandators.{mandator}.lists.{one.name}", *used[one.recipient_list_id])


def _check_feedback(mandator: str, feedback: FeedbackSettings, vendor: Optimizely, findings: _Findings) -> None:
    """Whether each reader may be asked, or each kind of file is there."""
    place = f"mandators.{mandator}.feedback"
    if feedback.reader(MAILING_UNSUBSCRIBES) and not feedback.reader(ClosedLoopReader.UNSUBSCRIBES):
        findings.add(
            place,
            None,
            f"{MAILING_UNSUBSCRIBES} doesn't tell of who leaves without naming a mailing, nor by an old one; add "
            f"{ClosedLoopReader.UNSUBSCRIBES.value} to readers",
        )
    if feedback.files:
        with findings.trying(place), open_delivered_files(feedback.files) as drop:
            for name, reader in feedback.readers.items():
                delivered = drop.files(reader.files or "")
                told = "no file is there yet"
                if delivered:
                    files = "1 file" if len(delivered) == 1 else f"{len(delivered)} files"
                    told = f"{files}, the newest of {delivered[-1].modified_at:%Y-%m-%d %H:%M} UTC"
                findings.add(place, True if delivered else None, f"{name}: {told}")
        return
    for name in feedback.readers:
        with findings.trying(place):
            now = vendor.closed_loop.current_time()
            rows = vendor.closed_loop.read(ClosedLoopReader(name), now - _A_WEEK, now, 0, 1)
            found = "has rows of the last week" if rows else "may be asked, and has no rows of the last week"
            findings.add(place, True if rows else None, f"{name} {found}")


def _check_selection(one: ListSettings, crm: CrmSnapshot, findings: _Findings) -> None:
    place = f"mandators.{one.mandator}.lists.{one.name}"
    opt_in = list_opt_in(crm, one)
    columns = sorted(set(one.schema.attributes.values()))
    people = granted = 0
    for chunk in crm.select(one.pick, opt_in.opt_in_id, columns):
        people += len(chunk)
        granted += int(chunk["consent_kind"].isin(GRANTING).sum())
    found = (
        f"{one.pick.kind.replace('_', ' ')} “{one.pick.name}” names {people}, {granted} of them with {opt_in.opt_in_id}"
    )
    consents = check_consents(crm.consent_rows(opt_in.opt_in_id))
    if not consents.passed:
        findings.add(place, None if consents.warning else False, consents.summary)
    findings.add(place, people > 0, found if people else f"{found}; correct select, or who is in it")

"""Random days of a small installation: edits, unsubscribes, faults, kills. What a proven run reports must be true.

With `--long` hypothesis draws many new installations, otherwise a few that are always the same.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import select

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.optimizely.session import Session
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.sandbox.vendor_state import FaultKind, RecordedCall
from campaign_sync.storage.replacements import Replacements, ReplacementState
from campaign_sync.storage.tables import rejection
from campaign_sync_tests.faults.proxied_installation import retry_without_waiting
from campaign_sync_tests.installation import (
    LONG_AGO,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    SUED_NEWSLETTER,
    Installation,
    epoch_ms,
    running_installation,
)
from campaign_sync_tests.root_log import root_log
from campaign_sync_tests.tmpfs import MEMORY

LONG = settings.get_current_profile_name() == "long"
CANARY, DOMAIN = "Kanari", "kanari.example"
"""A part of every name and every address, which no event or log may contain."""

LISTS = {"newsletter": (NEWSLETTER, "newsletter-nord"), "products": (PRODUCTS, "products-nord")}
CHANGING = {"addAll3", "clear", "removeAll", "removeBlacklisted", "removeBounced", "removeUnsubscribed",
            "setAttributes"}  # fmt: skip
LAST_READS = {"areBlacklisted", "getCount", "getAllAdvanced"}
"""The last reads of a replacement: a person who leaves during one of them may not be noticed any more."""

FEEDBACK = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
REPLACE = [("nord", "newsletter_recipient_list")]
CHAIN = [*FEEDBACK, ("nord", "newsletter_selection"), ("nord", "newsletter_snapshot"), *REPLACE]

CONTACTS = st.sampled_from([f"c{number}" for number in range(1, 7)])
ADDRESSES = st.sampled_from([f"person{number}@{DOMAIN}" for number in range(1, 8)])
OPT_INS = st.sampled_from(["newsletter-nord", "newsletter-nord", "products-nord"])

original_send, original_mark_failed = Session.send, Replacements.mark_failed


@dataclass(frozen=True)
class Row:
    """A person who must be in a list."""

    entity_id: str
    consent_at: datetime
    attributes: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Event:
    """A consent event, in the order of the CRM's columns."""

    id: str
    entity_id: str
    opt_in_id: str
    kind: str
    at: datetime
    source: str


class CrmContents:
    """The CRM as it is now, read without the product."""

    def __init__(self, installation: Installation) -> None:
        event, member = schema.consent_event.c, schema.marketing_list_member.c
        with installation.crm() as crm:
            self.contacts = {row.id: row for row in crm.execute(select(schema.contact))}
            self.members = set(
                crm.execute(select(member.entity_id).where(member.marketing_list_id == "nord")).scalars()
            )
            columns = (event.id, event.entity_id, event.opt_in_id, event.kind, event.occurred_at, event.source)
            self.events = [Event(*row) for row in crm.execute(select(*columns))]
            self.bounced = set(crm.execute(select(schema.address_state.c.address)).scalars())

    def address(self, entity_id: str) -> str:
        return str(self.contacts[entity_id].email).strip().lower()

    def holders(self, address: str) -> list[str]:
        return [entity_id for entity_id in self.contacts if self.address(entity_id) == address]

    def picked(self, name: str) -> set[str]:
        return self.members if name == "newsletter" else set(self.contacts)

    def current(self, opt_in_id: str) -> dict[str, Event]:
        """Return the consent event that decides, by contact."""
        events = [event for event in self.events if event.opt_in_id == opt_in_id]
        events.sort(key=lambda event: (event.at, event.kind == "withdrawn", event.id))
        return {event.entity_id: event for event in events}

    def may_receive(self, opt_in_id: str, entity_id: str, address: str, consent_at: datetime) -> bool:
        """Return whether the CRM allows mailings to a contact under this address."""
        current = self.current(opt_in_id)
        withdrawn = {contact: event.at for contact, event in current.items() if event.kind == "withdrawn"}
        return (
            address not in self.bounced
            and entity_id not in withdrawn
            and all(withdrawn[holder] < consent_at for holder in self.holders(address) if holder in withdrawn)
        )

    def selected(self, name: str) -> dict[str, Row]:
        """Return the people who may be in a list, by address."""
        opt_in_id = LISTS[name][1]
        rows: dict[str, Row] = {}
        for entity_id, event in sorted(self.current(opt_in_id).items()):
            if event.kind == "withdrawn" or entity_id not in self.picked(name):
                continue
            address = self.address(entity_id)
            if self.may_receive(opt_in_id, entity_id, address, event.at):
                rows.setdefault(address, Row(entity_id, event.at, self._attributes(entity_id, opt_in_id)))
        return rows

    def _attributes(self, entity_id: str, opt_in_id: str) -> dict[str, str]:
        contact = self.contacts[entity_id]
        return {
            "opt-in-id": opt_in_id,
            "description": "News",
            "media-type": "email",
            "entity-type": "contact",
            "entity-id": entity_id,
            "Vorname": contact.first_name,
            "Nachname": contact.last_name,
            "Ort": contact.city,
        }


@dataclass
class Interruption:
    """An action at the `countdown`-th call of an operation, before it is sent or after its answer."""

    operation: str
    countdown: int
    action: Callable[[], None]
    after: bool = False


class Days(RuleBasedStateMachine):
    """One installation, day after day."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.patch = pytest.MonkeyPatch()
        self.stack.callback(self.patch.undo)
        folder = Path(self.stack.enter_context(TemporaryDirectory(dir=MEMORY)))
        self.installation = self.stack.enter_context(running_installation(folder))
        self.interruptions: list[Interruption] = []
        self.running: list[str] = []
        self.left_meanwhile = False
        self.left_late: set[str] = set()
        """The addresses that unsubscribed in this run when a list may have been proven already."""
        self.blocked: set[str] = set()
        self.published: dict[tuple[str, datetime], None] = {}
        self.unpublished: list[tuple[str, datetime]] = []
        self.bounces: set[str] = set()
        self.unmatched: set[str] = set()
        """Published unsubscribes whose address the CRM didn't know at the last import."""
        self.snapshot_rows: dict[str, dict[str, Row]] = {}
        self.stable_lists: dict[tuple[str, ...], object] = {}
        """The lists after a run that proved them all, by what was run; emptied by the next change."""
        self.killed: str | None = None
        """How the process was killed in this run, if it was."""
        self._set_up()

    def _set_up(self) -> None:
        installation = self.installation
        installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 2}
        for name in LISTS:
            installation.list_settings("nord", name)["limits"] = {"min_rows": 0, "max_shrink": 1, "max_growth": 1000}
        with installation.crm() as crm:
            for number in range(1, 6):
                values = {"email": f"person{number}@{DOMAIN}", "first_name": f"{CANARY}na", "last_name": f"{CANARY}er"}
                crm.execute(schema.contact.update().where(schema.contact.c.id == f"c{number}").values(values))
        installation.add_contact("c0", f"keeper@{DOMAIN}", last_name=f"{CANARY}os")  # so that no list is ever empty
        installation.consent("c0", "products-nord", "granted", LONG_AGO)
        installation.fill_by_hand(SUED_NEWSLETTER, [f"stranger@{DOMAIN}"])
        self.sued = installation.vendor.recipients(SUED_NEWSLETTER)
        retry_without_waiting(self.patch)
        installation.retry_policy = RetryPolicy(seconds_unattended=0, seconds_by_hand=0)

        def interrupted_send(this: Session, service: str, operation: str, *rest: Any, **options: Any) -> Any:
            due = []
            for interruption in self.interruptions:
                if interruption.operation == operation:
                    interruption.countdown -= 1
                    if interruption.countdown == 0:
                        due.append(interruption)
            for interruption in due:
                if not interruption.after:
                    interruption.action()
            answer = original_send(this, service, operation, *rest, **options)
            for interruption in due:
                if interruption.after:
                    interruption.action()
            return answer

        def mark_failed_unless_killed(this: Replacements, *arguments: Any) -> None:
            if self.killed != "hard":
                original_mark_failed(this, *arguments)

        self.patch.setattr(Session, "send", interrupted_send)
        self.patch.setattr(Replacements, "mark_failed", mark_failed_unless_killed)

    def teardown(self) -> None:
        self.stack.close()

    # The CRM

    @rule(
        contact=CONTACTS,
        address=ADDRESSES,
        what=st.sampled_from(["add", "move", "move", "respell", "rename", "drop", "grant", "withdraw"]),
        opt_in=OPT_INS,
    )
    def edit_the_crm(self, contact: str, address: str, what: str, opt_in: str) -> None:
        self.stable_lists.clear()
        contents, people = CrmContents(self.installation), schema.contact
        if what == "add":
            if contact not in contents.contacts:
                self.installation.add_contact(contact, address, consent=opt_in, last_name=f"{CANARY}er")
            return
        if contact not in contents.contacts:
            return
        if what in ("grant", "withdraw"):
            kind = "granted" if what == "grant" else "withdrawn"
            self._consent(contact, opt_in, kind)
            return
        with self.installation.crm() as crm:
            if what == "drop":
                member = schema.marketing_list_member.c
                crm.execute(schema.marketing_list_member.delete().where(member.entity_id == contact))
                return
            values = {
                "move": {"email": address},
                "respell": {"email": f" {contents.address(contact).upper()}"},
                "rename": {"first_name": f"{CANARY}{len(self.installation.vendor.calls())}"},
            }[what]
            crm.execute(people.update().where(people.c.id == contact).values(values))

    # The vendor

    @rule(
        address=ADDRESSES,
        what=st.sampled_from(
            ["leaves", "leaves", "leaves, published", "comes back", "bounces", "is blocked", "published"]
        ),
    )
    def change_the_vendor(self, address: str, what: str) -> None:
        self.stable_lists.clear()
        vendor = self.installation.vendor
        if what.startswith("leaves"):
            self._unsubscribe(address)
        if what.endswith("published"):
            self._publish()
        elif what == "comes back":
            with vendor.transaction() as database:
                database.execute("DELETE FROM unsubscribed WHERE mandator_id = ? AND key = ?", [NORD, address])
            for contact in CrmContents(self.installation).holders(address):
                self._consent(contact, "newsletter-nord", "confirmed")
        elif what == "bounces":
            self.bounces.add(address)
            vendor.bounce(NORD, address)
            vendor.publish(NORD, "getOutBounces", [[address, epoch_ms(datetime.now(UTC))]])
        elif what == "is blocked":
            pattern = address.replace("person", "*son")
            self.blocked.add(pattern)
            vendor.block(NORD, pattern)

    @rule(address=ADDRESSES, what=st.sampled_from(["stranger", "other name", "other address", "gone"]))
    def edit_the_list(self, address: str, what: str) -> None:
        self.stable_lists.clear()
        vendor = self.installation.vendor
        held = {recipient["id"]: recipient for recipient in vendor.recipients(NEWSLETTER)}
        if what == "stranger":
            self.installation.fill_by_hand(NEWSLETTER, [f"stranger@{DOMAIN}"])
        elif what == "other name" and address in held:
            vendor.put(NEWSLETTER, [{**held[address], "attributes": held[address]["attributes"] | {"Vorname": "X"}}])
        elif address in held:
            with vendor.transaction() as database:
                database.execute("DELETE FROM recipient WHERE list_id = ? AND key = ?", [NEWSLETTER, address])
            if what == "other address":
                vendor.put(NEWSLETTER, [{"id": f"other@{DOMAIN}", "attributes": held[address]["attributes"]}])

    def _consent(self, contact: str, opt_in: str, kind: str) -> None:
        event = {"id": str(uuid4()), "entity_type": "contact", "entity_id": contact, "opt_in_id": opt_in, "kind": kind}
        with self.installation.crm() as crm:
            moment = {"occurred_at": datetime.now(UTC), "source": "web form"}
            crm.execute(schema.consent_event.insert().values({**event, **moment}))

    def _unsubscribe(self, address: str) -> None:
        self.installation.vendor.unsubscribe(NORD, address)
        self.unpublished.append((address, datetime.now(UTC)))

    def _publish(self) -> None:
        for address, moment in self.unpublished:
            cell = epoch_ms(moment)
            self.installation.vendor.publish(NORD, "getUnsubscribes", [[address, cell]])
            self.published[address, datetime.fromtimestamp(int(cell) / 1000, UTC)] = None
        self.unpublished.clear()

    # Faults

    @rule(
        operation=st.sampled_from(
            ["*", "login", "clear", "addAll3", "addAll3", "removeUnsubscribed", "removeBounced", "containsAll",
             "getCount", "getAllAdvanced", "getUnsubscribes"]
        ),
        kind=st.sampled_from(["fault", "expire", "delay", "drop", "truncate"]),
        skip=st.integers(0, 8),
        times=st.sampled_from([1, 1, 4]),
    )  # fmt: skip
    def let_a_call_fail(self, operation: str, kind: FaultKind, skip: int, times: int) -> None:
        arg = 0.01 if kind == "delay" else f"recipientIds='[person1@{DOMAIN}, {CANARY}na]'"
        self.installation.vendor.fault(operation, kind, times, skip, arg)

    @rule(
        operation=st.sampled_from(["clear", "addAll3", "removeUnsubscribed", "removeBounced", *sorted(LAST_READS)]),
        nth=st.integers(1, 5),
        address=ADDRESSES,
    )
    def let_a_person_leave_during_the_run(self, operation: str, nth: int, address: str) -> None:
        def leave() -> None:
            self._unsubscribe(address)
            self.stable_lists.clear()
            self.left_meanwhile = True
            if operation in LAST_READS or self.running != ["newsletter"]:
                self.left_late.add(address)

        self.interruptions.append(Interruption(operation, nth, leave))

    @rule(
        operation=st.sampled_from(["clear", "addAll3", "addAll3", "removeUnsubscribed", "getAllAdvanced"]),
        nth=st.integers(1, 5),
        how=st.sampled_from([KeyboardInterrupt, SystemExit]),
        after=st.booleans(),
        hard=st.booleans(),
    )
    def kill_the_process(self, operation: str, nth: int, how: type[BaseException], after: bool, hard: bool) -> None:
        def die() -> None:
            self.killed = "hard" if hard else "soft"
            raise how

        self.interruptions.append(Interruption(operation, nth, die, after))

    # Runs

    @rule()
    def run_the_whole_day(self) -> None:
        self._run(None)

    @rule()
    def run_the_newsletter(self) -> None:
        self._run(CHAIN)

    @rule()
    def run_the_newsletter_from_its_snapshot(self) -> None:
        self._run(REPLACE)

    def _run(self, assets: Sequence[Sequence[str]] | None) -> None:
        installation, run_id = self.installation, str(uuid4())
        names = self.running = list(LISTS) if assets is None else ["newsletter"]
        scope = tuple(names) if assets is not REPLACE else ("snapshot",)
        lists = {name: self._recipients(name) for name in names}
        contents, calls, snapshots = CrmContents(installation), len(installation.vendor.calls()), self._snapshots(names)
        committed = self._committed()
        self.left_meanwhile = False
        self.left_late.clear()
        result = None
        with root_log(logging.INFO) as records, suppress(KeyboardInterrupt, SystemExit):
            result = installation.run("nord", assets=assets, run_id=run_id)
        died, self.killed = self.killed, None
        after = CrmContents(installation)
        self._check_no_personal_data(result, [record.getMessage() for record in records])
        self._check_crm(contents, after, committed)
        assert installation.vendor.recipients(SUED_NEWSLETTER) == self.sued
        made = installation.vendor.calls()[calls:]
        assert all(call.list_id != SUED_NEWSLETTER for call in made)
        new_snapshots = self._snapshots(names)
        for name in names:
            if new_snapshots[name] != snapshots[name]:
                self.snapshot_rows[name] = _without_live_opt_outs(after, contents).selected(name)
                self.stable_lists.pop(("snapshot",), None)
        proven = [self._judge(name, run_id, result, lists[name], after, made, died) for name in names]
        if not all(proven):
            return
        for name in names:
            picked = (
                after.picked(name)
                if scope != ("snapshot",)
                else {row.entity_id for row in self.snapshot_rows[name].values()}
            )
            self._check_accounted_for(name, run_id, picked)
        now = [self._recipients(name) for name in names]
        if scope in self.stable_lists:
            assert now == self.stable_lists[scope], "running again without a change changed the list"
            assert after.events == contents.events, "running again without a change wrote to the CRM"
        if not self.left_meanwhile:
            self.stable_lists[scope] = now

    def _judge(
        self,
        name: str,
        run_id: str,
        result: dg.ExecuteInProcessResult | None,
        before: object,
        contents: CrmContents,
        made: list[RecordedCall],
        died: str | None,
    ) -> bool:
        """Check that what a run reports about a list is true, and return whether it was proven."""
        list_id = LISTS[name][0]
        changes = [call for call in made if call.list_id == list_id and call.operation in CHANGING]
        with self.installation.state() as state:
            entry = state.replacements.of_run(run_id, name)
            incomplete = state.replacements.incomplete("nord", name)
        step = f"nord__{name}_recipient_list"
        proven = entry is not None and entry.state is ReplacementState.PROVEN
        if result is not None:
            succeeded = any(event.is_step_success and event.step_key == step for event in result.all_events)
            assert succeeded == proven
        if entry is None:  # refused, or not reached
            assert changes == []
            assert self._recipients(name) == before
            return False
        if not proven:
            assert incomplete is not None or self._recipients(name) == before
            if result is not None and incomplete is not None and not died:
                assert any("INCOMPLETE since" in problem for problem in problems(result))
            return False
        assert incomplete is None
        held = self._recipients(name)
        assert {attributes["opt-in-id"] for _, attributes in held.values()} <= {LISTS[name][1]}
        wanted = self._wanted(name, contents)
        seen = {address: row for address, row in held.items() if address not in self.left_late}
        assert sorted(seen) == sorted(wanted)
        assert seen == {address: (address, row.attributes) for address, row in wanted.items()}
        return True

    def _wanted(self, name: str, contents: CrmContents) -> dict[str, Row]:
        """Return the rows of the newest snapshot that may still be in the list."""
        gone = (
            {address.lower() for address in self.installation.vendor.unsubscribed(NORD)} | self.bounces | self.unmatched
        )
        return {
            address: row
            for address, row in self.snapshot_rows[name].items()
            if address not in gone
            and not any(fnmatchcase(address, pattern) for pattern in self.blocked)
            and contents.address(row.entity_id) == address
            and contents.may_receive(LISTS[name][1], row.entity_id, address, row.consent_at)
        }

    def _check_accounted_for(self, name: str, run_id: str, picked: set[str]) -> None:
        """Check that every picked person is in the list or among the rejections."""
        in_list = {attributes["entity-id"] for _, attributes in self._recipients(name).values()}
        with self.installation.state_database() as connection:
            of_run = (rejection.c.list == name) & (rejection.c.run_id == run_id)
            rejected = set(connection.execute(select(rejection.c.entity_id).where(of_run)).scalars())
        assert picked <= in_list | rejected

    def _check_crm(self, before: CrmContents, after: CrmContents, committed: object) -> None:
        """Check that consents were only withdrawn, each once, and that all published unsubscribes are imported."""
        new = [event for event in after.events if event not in set(before.events)]
        assert set(before.events) <= set(after.events)
        assert {event.kind for event in new} <= {"withdrawn"}
        events = [(event.entity_id, event.opt_in_id, event.at, event.source) for event in after.events]
        assert len(events) == len(set(events))
        live = [(entity_id, opt_in) for entity_id, opt_in, _, source in events if source == "optimizely:live_look"]
        assert len(live) == len(set(live))
        if self._committed() == committed:
            return
        self.unmatched = set()
        for address, moment in self.published:
            holders = [holder for holder in after.holders(address) if _opt_ins_of(before, holder)]
            if not holders:
                self.unmatched.add(address)
            for holder in holders:
                withdrawn = {e.opt_in_id for e in after.events if e.entity_id == holder and e.at == moment
                             and e.kind == "withdrawn"}  # fmt: skip
                assert _opt_ins_of(before, holder) <= withdrawn
        assert {address for address in self.bounces if after.holders(address)} <= after.bounced

    def _check_no_personal_data(self, result: dg.ExecuteInProcessResult | None, log: list[str]) -> None:
        events = [str(event) for event in result.all_events] if result else []
        for text in (*events, *log):
            assert DOMAIN not in text, text
            assert CANARY.lower() not in text.lower(), text

    def _recipients(self, name: str) -> dict[str, tuple[str, dict[str, str | None]]]:
        return {
            recipient["id"]: (recipient["address"], recipient["attributes"])
            for recipient in self.installation.vendor.recipients(LISTS[name][0])
        }

    def _snapshots(self, names: Sequence[str]) -> dict[str, str | None]:
        with self.installation.state() as state:
            latest = {name: state.snapshots.latest("nord", name) for name in names}
        return {name: snapshot.id if snapshot else None for name, snapshot in latest.items()}

    def _committed(self) -> object:
        with self.installation.state() as state:
            return state.feedback_imports.committed_until("nord")


def _without_live_opt_outs(after: CrmContents, before: CrmContents) -> CrmContents:
    """Return the CRM as a run's selections saw it: with its feedback, but without opt-outs found after them."""
    known, seen = set(before.events), copy(after)
    seen.events = [event for event in after.events if event in known or event.source != "optimizely:live_look"]
    return seen


def _opt_ins_of(contents: CrmContents, entity_id: str) -> set[str]:
    events = (event for event in contents.events if event.entity_id == entity_id)
    return {event.opt_in_id for event in events if event.opt_in_id.endswith("-nord")}


TestDays = pytest.mark.thorough(Days.TestCase)
TestDays.settings = settings(
    max_examples=200 if LONG else 2,
    stateful_step_count=12,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

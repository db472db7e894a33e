"""Days of a small installation, drawn by hypothesis: edits, leavers, troubles, deaths. What a proven run says, holds.

With `--long` many installations are drawn anew, else a few that are always the same.
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
from tenacity import wait_none

from campaign_sync.cli.run import problems
from campaign_sync.crm.sql import schema
from campaign_sync.optimizely import session
from campaign_sync.optimizely.session import Session
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.replacement import list_writer
from campaign_sync.sandbox.vendor_state import FaultKind, RecordedCall
from campaign_sync.storage.replacements import Replacements, ReplacementState
from campaign_sync.storage.tables import rejection
from campaign_sync_tests.installation import (
    LONG_AGO,
    NEWSLETTER,
    NORD,
    PRODUCTS,
    SUED_NEWSLETTER,
    Installation,
    running_installation,
)
from campaign_sync_tests.root_log import root_log
from campaign_sync_tests.tmpfs import MEMORY

LONG = settings.get_current_profile_name() == "long"
CANARY, DOMAIN = "Kanari", "kanari.example"
"""What everybody's name and address has in it, and no event or log may have."""

LISTS = {"newsletter": (NEWSLETTER, "newsletter-nord"), "products": (PRODUCTS, "products-nord")}
CHANGING = {"addAll3", "clear", "removeAll", "removeBlacklisted", "removeBounced", "removeUnsubscribed",
            "setAttributes"}  # fmt: skip
LAST_QUESTIONS = {"areBlacklisted", "getCount", "getAllAdvanced"}
"""Who leaves when one of these is asked, may have left after the last look."""

FEEDBACK = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
REPLACE = [("nord", "newsletter_recipient_list")]
CHAIN = [*FEEDBACK, ("nord", "newsletter_selection"), ("nord", "newsletter_snapshot"), *REPLACE]

CONTACTS = st.sampled_from([f"c{number}" for number in range(1, 7)])
ADDRESSES = st.sampled_from([f"person{number}@{DOMAIN}" for number in range(1, 8)])
OPT_INS = st.sampled_from(["newsletter-nord", "newsletter-nord", "products-nord"])

send, mark_failed = Session.send, Replacements.mark_failed


@dataclass(frozen=True)
class Row:
    """Somebody who is to be in a list."""

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


class Books:
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
        """By contact, the consent event that decides."""
        events = [event for event in self.events if event.opt_in_id == opt_in_id]
        events.sort(key=lambda event: (event.at, event.kind == "withdrawn", event.id))
        return {event.entity_id: event for event in events}

    def may_receive(self, opt_in_id: str, entity_id: str, address: str, consent_at: datetime) -> bool:
        """Whether nothing in the CRM stands against writing to somebody under this address."""
        current = self.current(opt_in_id)
        withdrawn = {one: event.at for one, event in current.items() if event.kind == "withdrawn"}
        return (
            address not in self.bounced
            and entity_id not in withdrawn
            and all(withdrawn[one] < consent_at for one in self.holders(address) if one in withdrawn)
        )

    def selected(self, name: str) -> dict[str, Row]:
        """By address, everybody who may be written to for this list."""
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
    """Something that happens at the `countdown`-th call of an operation, before it is sent or after its answer."""

    operation: str
    countdown: int
    happen: Callable[[], None]
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
        self.under_way: list[str] = []
        self.left_meanwhile = False
        self.left_late: set[str] = set()
        """Who left in this run when a list may have been proven already."""
        self.blocked: set[str] = set()
        self.published: dict[tuple[str, datetime], None] = {}
        self.unpublished: list[tuple[str, datetime]] = []
        self.bounces: set[str] = set()
        self.nobodys: set[str] = set()
        """Published leavers whom the CRM didn't know when it was last told."""
        self.frozen: dict[str, dict[str, Row]] = {}
        self.settled: dict[tuple[str, ...], object] = {}
        """By what was run: the lists after a run that proved everything; gone with the next change."""
        self.death: str | None = None
        """How the process died in this run, if it did."""
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
        installation.fill_by_hand(SUED_NEWSLETTER, [f"somebody@{DOMAIN}"])
        self.sued = installation.vendor.recipients(SUED_NEWSLETTER)
        for module, name in ((session, "wait_exponential"), (session, "wait_random"),
                             (list_writer, "wait_random_exponential")):  # fmt: skip
            self.patch.setattr(module, name, lambda *_, **__: wait_none())
        installation.retry_policy = RetryPolicy(seconds_unattended=0, seconds_by_hand=0)

        def interrupted_send(this: Session, service: str, operation: str, *rest: Any, **options: Any) -> Any:
            due = []
            for one in self.interruptions:
                if one.operation == operation:
                    one.countdown -= 1
                    if one.countdown == 0:
                        due.append(one)
            for one in due:
                if not one.after:
                    one.happen()
            answer = send(this, service, operation, *rest, **options)
            for one in due:
                if one.after:
                    one.happen()
            return answer

        def mark_failed_unless_killed(this: Replacements, *arguments: Any) -> None:
            if self.death != "hard":
                mark_failed(this, *arguments)

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
        self.settled.clear()
        books, people = Books(self.installation), schema.contact
        if what == "add":
            if contact not in books.contacts:
                self.installation.add_contact(contact, address, consent=opt_in, last_name=f"{CANARY}er")
            return
        if contact not in books.contacts:
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
                "respell": {"email": f" {books.address(contact).upper()}"},
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
    def somebody_at_the_vendor(self, address: str, what: str) -> None:
        self.settled.clear()
        vendor = self.installation.vendor
        if what.startswith("leaves"):
            self._leave(address)
        if what.endswith("published"):
            self._publish()
        elif what == "comes back":
            with vendor.transaction() as database:
                database.execute("DELETE FROM unsubscribed WHERE mandator_id = ? AND key = ?", [NORD, address])
            for contact in Books(self.installation).holders(address):
                self._consent(contact, "newsletter-nord", "confirmed")
        elif what == "bounces":
            self.bounces.add(address)
            vendor.bounce(NORD, address)
            vendor.publish(NORD, "getOutBounces", [[address, _milliseconds(datetime.now(UTC))]])
        elif what == "is blocked":
            pattern = address.replace("person", "*son")
            self.blocked.add(pattern)
            vendor.block(NORD, pattern)

    @rule(address=ADDRESSES, what=st.sampled_from(["stranger", "other name", "other address", "gone"]))
    def somebody_meddles_with_the_list(self, address: str, what: str) -> None:
        self.settled.clear()
        vendor = self.installation.vendor
        held = {one["id"]: one for one in vendor.recipients(NEWSLETTER)}
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

    def _leave(self, address: str) -> None:
        self.installation.vendor.unsubscribe(NORD, address)
        self.unpublished.append((address, datetime.now(UTC)))

    def _publish(self) -> None:
        for address, moment in self.unpublished:
            cell = _milliseconds(moment)
            self.installation.vendor.publish(NORD, "getUnsubscribes", [[address, cell]])
            self.published[address, datetime.fromtimestamp(int(cell) / 1000, UTC)] = None
        self.unpublished.clear()

    # Troubles

    @rule(
        operation=st.sampled_from(
            ["*", "login", "clear", "addAll3", "addAll3", "removeUnsubscribed", "removeBounced", "containsAll",
             "getCount", "getAllAdvanced", "getUnsubscribes"]
        ),
        kind=st.sampled_from(["fault", "expire", "delay", "drop", "truncate"]),
        skip=st.integers(0, 8),
        times=st.sampled_from([1, 1, 4]),
    )  # fmt: skip
    def a_call_will_fail(self, operation: str, kind: FaultKind, skip: int, times: int) -> None:
        arg = 0.01 if kind == "delay" else f"recipientIds='[person1@{DOMAIN}, {CANARY}na]'"
        self.installation.vendor.fault(operation, kind, times, skip, arg)

    @rule(
        operation=st.sampled_from(["clear", "addAll3", "removeUnsubscribed", "removeBounced", *sorted(LAST_QUESTIONS)]),
        nth=st.integers(1, 5),
        address=ADDRESSES,
    )
    def somebody_will_leave_meanwhile(self, operation: str, nth: int, address: str) -> None:
        def leave() -> None:
            self._leave(address)
            self.settled.clear()
            self.left_meanwhile = True
            if operation in LAST_QUESTIONS or self.under_way != ["newsletter"]:
                self.left_late.add(address)

        self.interruptions.append(Interruption(operation, nth, leave))

    @rule(
        operation=st.sampled_from(["clear", "addAll3", "addAll3", "removeUnsubscribed", "getAllAdvanced"]),
        nth=st.integers(1, 5),
        how=st.sampled_from([KeyboardInterrupt, SystemExit]),
        after=st.booleans(),
        hard=st.booleans(),
    )
    def the_process_will_die(self, operation: str, nth: int, how: type[BaseException], after: bool, hard: bool) -> None:
        def die() -> None:
            self.death = "hard" if hard else "soft"
            raise how

        self.interruptions.append(Interruption(operation, nth, die, after))

    # Runs

    @rule()
    def the_whole_day(self) -> None:
        self._run(None)

    @rule()
    def the_newsletter(self) -> None:
        self._run(CHAIN)

    @rule()
    def the_newsletter_from_its_snapshot(self) -> None:
        self._run(REPLACE)

    def _run(self, assets: Sequence[Sequence[str]] | None) -> None:
        installation, run_id = self.installation, str(uuid4())
        names = self.under_way = list(LISTS) if assets is None else ["newsletter"]
        scope = tuple(names) if assets is not REPLACE else ("snapshot",)
        lists = {name: self._held(name) for name in names}
        books, calls, snapshots = Books(installation), len(installation.vendor.calls()), self._snapshots(names)
        committed = self._committed()
        self.left_meanwhile = False
        self.left_late.clear()
        result = None
        with root_log(logging.INFO) as records, suppress(KeyboardInterrupt, SystemExit):
            result = installation.run("nord", assets=assets, run_id=run_id)
        died, self.death = self.death, None
        after = Books(installation)
        self._nobodys_data_was_told(result, [record.getMessage() for record in records])
        self._the_crm_was_told(books, after, committed)
        assert installation.vendor.recipients(SUED_NEWSLETTER) == self.sued
        made = installation.vendor.calls()[calls:]
        assert all(call.list_id != SUED_NEWSLETTER for call in made)
        new_snapshots = self._snapshots(names)
        for name in names:
            if new_snapshots[name] != snapshots[name]:
                self.frozen[name] = _before_the_looks(after, books).selected(name)
                self.settled.pop(("snapshot",), None)
        proven = [self._judge(name, run_id, result, lists[name], after, made, died) for name in names]
        if not all(proven):
            return
        for name in names:
            picked = (
                after.picked(name) if scope != ("snapshot",) else {row.entity_id for row in self.frozen[name].values()}
            )
            self._everybody_is_somewhere(name, run_id, picked)
        now = [self._held(name) for name in names]
        if scope in self.settled:
            assert now == self.settled[scope], "running again without a change changed the list"
            assert after.events == books.events, "running again without a change wrote to the CRM"
        if not self.left_meanwhile:
            self.settled[scope] = now

    def _judge(
        self,
        name: str,
        run_id: str,
        result: dg.ExecuteInProcessResult | None,
        before: object,
        books: Books,
        made: list[RecordedCall],
        died: str | None,
    ) -> bool:
        """Whether the list was proven; and whether what is said of it is true."""
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
        if entry is None:  # refused, or it never came to that
            assert changes == []
            assert self._held(name) == before
            return False
        if not proven:
            assert incomplete is not None or self._held(name) == before
            if result is not None and incomplete is not None and not died:
                assert any("INCOMPLETE since" in problem for problem in problems(result))
            return False
        assert incomplete is None
        held = self._held(name)
        assert {attributes["opt-in-id"] for _, attributes in held.values()} <= {LISTS[name][1]}
        wanted = self._wanted(name, books)
        seen = {address: row for address, row in held.items() if address not in self.left_late}
        assert sorted(seen) == sorted(wanted)
        assert seen == {address: (address, row.attributes) for address, row in wanted.items()}
        return True

    def _wanted(self, name: str, books: Books) -> dict[str, Row]:
        """Who of the newest snapshot may be in the list by now."""
        gone = (
            {address.lower() for address in self.installation.vendor.unsubscribed(NORD)} | self.bounces | self.nobodys
        )
        return {
            address: row
            for address, row in self.frozen[name].items()
            if address not in gone
            and not any(fnmatchcase(address, pattern) for pattern in self.blocked)
            and books.address(row.entity_id) == address
            and books.may_receive(LISTS[name][1], row.entity_id, address, row.consent_at)
        }

    def _everybody_is_somewhere(self, name: str, run_id: str, picked: set[str]) -> None:
        there = {attributes["entity-id"] for _, attributes in self._held(name).values()}
        with self.installation.state() as state, state._engine.connect() as connection:
            of_run = (rejection.c.list == name) & (rejection.c.run_id == run_id)
            ledger = set(connection.execute(select(rejection.c.entity_id).where(of_run)).scalars())
        assert picked <= there | ledger

    def _the_crm_was_told(self, before: Books, after: Books, committed: object) -> None:
        """Consents are only ever withdrawn, each withdrawal once, and nothing that was published is missing."""
        new = [event for event in after.events if event not in set(before.events)]
        assert set(before.events) <= set(after.events)
        assert {event.kind for event in new} <= {"withdrawn"}
        said = [(event.entity_id, event.opt_in_id, event.at, event.source) for event in after.events]
        assert len(said) == len(set(said))
        looks = [(who, opt_in) for who, opt_in, _, source in said if source == "optimizely:live_look"]
        assert len(looks) == len(set(looks))
        if self._committed() == committed:
            return
        self.nobodys = set()
        for address, moment in self.published:
            holders = [one for one in after.holders(address) if _opt_ins_of(before, one)]
            if not holders:
                self.nobodys.add(address)
            for one in holders:
                withdrawn = {e.opt_in_id for e in after.events if e.entity_id == one and e.at == moment
                             and e.kind == "withdrawn"}  # fmt: skip
                assert _opt_ins_of(before, one) <= withdrawn
        assert {address for address in self.bounces if after.holders(address)} <= after.bounced

    def _nobodys_data_was_told(self, result: dg.ExecuteInProcessResult | None, said: list[str]) -> None:
        events = [str(event) for event in result.all_events] if result else []
        for text in (*events, *said):
            assert DOMAIN not in text, text
            assert CANARY.lower() not in text.lower(), text

    def _held(self, name: str) -> dict[str, tuple[str, dict[str, str | None]]]:
        return {
            one["id"]: (one["address"], one["attributes"])
            for one in self.installation.vendor.recipients(LISTS[name][0])
        }

    def _snapshots(self, names: Sequence[str]) -> dict[str, str | None]:
        with self.installation.state() as state:
            latest = {name: state.snapshots.latest("nord", name) for name in names}
        return {name: snapshot.id if snapshot else None for name, snapshot in latest.items()}

    def _committed(self) -> object:
        with self.installation.state() as state:
            return state.feedback_imports.committed_until("nord")


def _before_the_looks(after: Books, before: Books) -> Books:
    """The CRM as a run's selections saw it: with its feedback, without what the last looks brought to light."""
    known, seen = set(before.events), copy(after)
    seen.events = [one for one in after.events if one in known or one.source != "optimizely:live_look"]
    return seen


def _opt_ins_of(books: Books, entity_id: str) -> set[str]:
    events = (event for event in books.events if event.entity_id == entity_id)
    return {event.opt_in_id for event in events if event.opt_in_id.endswith("-nord")}


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


TestDays = pytest.mark.thorough(Days.TestCase)
TestDays.settings = settings(
    max_examples=200 if LONG else 5,
    stateful_step_count=12,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

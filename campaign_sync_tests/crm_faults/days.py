"""Invented days: what people do before the daily run, and what must be true after it."""

import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import time_machine

from campaign_sync.cli.run import problems
from campaign_sync_tests.crm_faults.calls import Answer, Call, any_call, calls_meet
from campaign_sync_tests.crm_faults.crm import COLUMN, PURPOSE, SECRET, FaultyCrm, Person
from campaign_sync_tests.installation import NORD, Installation, epoch_ms

FIRST_DAY = datetime(2027, 3, 1, 12, tzinfo=UTC)

LISTS = {"newsletter": 100000000011, "visitors": 100000000012, "events": 100000000013}

REMEDIES = (
    *(
        "run again",
        "try again",
        "run `",
        "correct",
        "grant",
        "give ",
        "select",
        "change ",
        "set ",
        "simplify",
        "raised",
    ),
    *("remove", "check ", "start", "repeat", "see ", "repaired"),
)
"""Every message has one of these words, since it says what to do."""

Rows = dict[str, str]
"""What a list holds at the vendor: the record of each address."""


@dataclass
class Day:
    """A day that is over."""

    faults: tuple[str, ...]
    problems: list[str]
    untouched: tuple[str, ...]


@dataclass
class Days:
    """An installation on a CRM with faults, day after day."""

    crm: FaultyCrm
    installation: Installation
    rng: random.Random
    log: pytest.LogCaptureFixture
    lists: Sequence[str]
    """Those that are replaced daily."""
    people: list[Person] = field(default_factory=list)
    number: int = 0
    calls: int = 100
    """How many calls an ordinary day makes."""
    unsubscribed: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """The newest unsubscribe at the vendor, by address and opt-in."""
    sent: dict[str, set[str]] = field(default_factory=dict)
    """The opt-ins of the lists that each address was in: who unsubscribes withdraws these, or all if there is none."""
    bounced: set[str] = field(default_factory=set)
    kept: dict[tuple[Person, str], datetime] = field(default_factory=dict)
    """Grants after which nothing was withdrawn, by record and opt-in."""
    left: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When an address last withdrew, by opt-in."""
    replaced: dict[str, datetime] = field(default_factory=dict)
    """When each list was last what it should be."""
    undated: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When it was last shown as granted again without a date, by address and opt-in: not judged, until it is accepted.

    An unsubscribe before it needn't be in the CRM: that showed a withdrawal already, of all mail.
    """

    story: list[tuple[str, str, datetime]] = field(default_factory=list)
    """What happened to which address, and when; for messages of tests."""

    @property
    def noon(self) -> datetime:
        """The time of the daily run."""
        return FIRST_DAY + timedelta(days=self.number)

    def at(self, hour: int) -> datetime:
        """Return a moment of the present day, in whole seconds."""
        return self.noon.replace(hour=hour) + timedelta(seconds=self.rng.randrange(3000))

    # What people do

    def first_people(self, contacts: int, leads: int) -> None:
        """Let people subscribe long ago; leads share some addresses with contacts."""
        long_ago = self.noon - timedelta(days=200)
        for number in range(contacts + leads):
            is_lead = number >= contacts
            same = self.people[number - contacts].address if is_lead and number % 5 == 0 else None
            self._subscribe(number, self.crm.tables[is_lead], same or _address(number), long_ago)

    def morning(self, busy: float = 1.0) -> None:
        """Let people come, withdraw, unsubscribe, bounce and consent again."""
        for _ in range(self.rng.randint(0, 2)):
            number = 1000 + len(self.people)
            self._subscribe(number, self.rng.choice(self.crm.tables), _address(number), self.at(7))
        for person in self._some(busy * 0.05, self._granted()):
            self.withdraw(person.address, self.at(8))
        for person in self._some(busy * 0.04, self.people):
            self._unsubscribe(person.address, self.at(9))
        for person in self._some(busy * 0.03, self.people):
            self.bounced.add(person.address)
            self.story.append((person.address, "bounces", self.noon))
            self.installation.vendor.publish(
                NORD, "getOutBounces", [[person.address, epoch_ms(self.at(10)), "hard"]], self.noon - timedelta(hours=1)
            )
        for person in self._some(busy * 0.5, self._may_return()):
            self._regrant(person.address, self.at(11))

    def withdraw(self, address: str, at: datetime, place: str | None = None) -> None:
        """Let everybody with an address withdraw in the CRM."""
        place = place or self.rng.choice(self.crm.places)
        self.story.append((address, f"withdraws by {place}", at))
        for person in self.holders(address):
            self.crm.withdraw(person, place, at)
        for opt_in_id in {"column": [COLUMN], "purpose": [PURPOSE]}.get(place, [COLUMN, PURPOSE]):
            self._has_left(address, opt_in_id, at)

    def holders(self, address: str) -> list[Person]:
        """Return the records with an address."""
        return [person for person in self.people if person.address == address]

    def _subscribe(self, number: int, table: str, address: str, at: datetime) -> None:
        person = self.crm.add(number, table, address, at)
        self.people.append(person)
        self.kept |= {(person, COLUMN): at, (person, PURPOSE): at}

    def _unsubscribe(self, address: str, at: datetime) -> None:
        self.story.append((address, "unsubscribes", at))
        if self.rng.random() < 0.5:
            self.installation.vendor.unsubscribe(NORD, address)
        published = self.noon - timedelta(hours=1)
        self.installation.vendor.publish(NORD, "getUnsubscribes", [[address, epoch_ms(at)]], published)
        for opt_in_id in self.sent.get(address, (COLUMN, PURPOSE)):
            self.unsubscribed[address, opt_in_id] = at
            self._has_left(address, opt_in_id, at)

    def _regrant(self, address: str, at: datetime) -> None:
        self.story.append((address, "grants again", at))
        for person in self.holders(address):
            self.crm.grant(person, at)
            self.kept[person, COLUMN] = at
            if self.crm.regrants_purposes:
                self.kept[person, PURPOSE] = at
        self.left.pop((address, COLUMN), None)
        if self.crm.regrants_purposes:
            self.left.pop((address, PURPOSE), None)
        else:
            self.undated[address, PURPOSE] = at

    def _has_left(self, address: str, opt_in_id: str, at: datetime) -> None:
        self.left[address, opt_in_id] = at
        for person in self.holders(address):
            self.kept.pop((person, opt_in_id), None)

    def _some(self, share: float, people: list[Person]) -> list[Person]:
        return [person for person in people if self.rng.random() < share]

    def _granted(self) -> list[Person]:
        return [person for person in self.people if (person.address, COLUMN) not in self.left]

    def _may_return(self) -> list[Person]:
        """Return who withdrew on an earlier day and isn't out for good at the vendor."""
        out = self.bounced | set(self.installation.vendor.unsubscribed(NORD))
        today = self.noon.replace(hour=0)
        return [
            person
            for person in self.people
            if person.address not in out and self.left.get((person.address, COLUMN), today) < today
        ]

    # The daily run

    def run(self, *names: str, withdraws_meanwhile: bool = False, by_hand: bool = False) -> Day:
        """Let the daily run meet faults, and judge what it left.

        Args:
            names: of the faults.
            withdraws_meanwhile: whether a person withdraws while a table is read, on a page that was read already.
            by_hand: whether a person starts it, who repeats it by hand as well.
        """
        lists = {name: self._rows(name) for name in self.lists}
        meanwhile = _Meanwhile(self)
        self.log.clear()
        with ExitStack() as stack, time_machine.travel(self.noon):
            for name in names:
                stack.enter_context(self.crm.faults()[name](self.rng, self.calls))
            if withdraws_meanwhile:
                stack.enter_context(meanwhile.patched())
            counted = _Counted()
            stack.enter_context(calls_meet(self.crm.stand_in, counted, any_call, times=1_000_000))
            result = self.installation.run(tags=None if by_hand else {"dagster/schedule_name": "nord"})
        if not names and not withdraws_meanwhile:
            self.calls = counted.count
        day = self._judged(names, result, lists, meanwhile)
        self.number += 1
        return day

    def _judged(
        self,
        names: tuple[str, ...],
        result: dg.ExecuteInProcessResult,
        lists: Mapping[str, Rows],
        meanwhile: "_Meanwhile",
    ) -> Day:
        untouched = []
        sentences = problems(result)
        for name, rows in lists.items():
            now, expected = self._rows(name), self.expected(name)
            for address in now:
                self.sent.setdefault(address, set()).add(self.crm.opt_ins[name])
            ignored = self._unjudged(name) | meanwhile.exempt(name)
            if set(now) - ignored == expected.keys() - ignored:
                wrong = {address for address, key in now.items() if key not in expected.get(address, {key})}
                assert not wrong, (name, "records of others", wrong)
                self.replaced[name] = self.noon
                continue
            lacks, more = expected.keys() - now.keys() - ignored, now.keys() - expected.keys() - ignored
            story = self._about(lacks | more)
            assert now == rows, (name, "neither right nor untouched", "lacks", lacks, "has", more, story, sentences)
            untouched.append(name)
            opt_in_id = self.crm.opt_ins[name]
            late = {
                address
                for address in now
                if address not in ignored and self.left.get((address, opt_in_id), self.noon) <= self.replaced[name]
            }
            assert not late, (name, "mailed although they left before it was last replaced", self._about(late))
        self._judge_messages(names, sentences, untouched, result)
        self._judge_grants()
        return Day(names, sentences, tuple(untouched))

    def expected(self, name: str) -> dict[str, set[str]]:
        """Return who belongs into a list by the rows of the stand-in and what the vendor knows: address to records."""
        opt_in_id = self.crm.opt_ins[name]
        out = self.bounced | set(self.installation.vendor.unsubscribed(NORD))
        out |= {person.address for person in self.people if self.crm.shown(person).bounced}
        expected: dict[str, set[str]] = {}
        for person in self.people:
            shown = self.crm.shown(person)
            at, unsubscribed = shown.at[opt_in_id], self.unsubscribed.get((person.address, opt_in_id))
            is_newer = unsubscribed is None or (at is not None and at > unsubscribed)
            wants = shown.granted[opt_in_id] and not shown.no_mail and is_newer
            if wants and person.address not in out and self.crm.is_member(name, person):
                expected.setdefault(person.address, set()).add(person.key)
        return expected

    def judge_feedback(self) -> None:
        """Raise AssertionError unless every unsubscribe and bounce is in the CRM's own place.

        A bounce belongs to an address, so a single record that shows it keeps all others out.
        """
        shown_bounced = {person.address for person in self.people if self.crm.shown(person).bounced}
        lost = self.bounced - shown_bounced
        assert not lost, ("no bounce", self._about(lost))
        for person in self.people:
            shown = self.crm.shown(person)
            for opt_in_id, granted in shown.granted.items():
                consent = (person.address, opt_in_id)
                at, granted_at = self.unsubscribed.get(consent), shown.at[opt_in_id] or self.undated.get(consent)
                is_newer = at is None or (granted_at is not None and granted_at > at)
                story = self._about({person.address})
                assert not granted or is_newer or shown.no_mail, ("no withdrawal", person, opt_in_id, granted_at, story)

    def _judge_grants(self) -> None:
        for (person, opt_in_id), at in self.kept.items():
            shown = self.crm.shown(person)
            assert shown.granted[opt_in_id], ("the grant was destroyed", person, opt_in_id, at)
            assert shown.at[opt_in_id] in (None, at), ("the grant's date was changed", person, opt_in_id)

    def _judge_messages(
        self, names: tuple[str, ...], sentences: list[str], untouched: list[str], result: dg.ExecuteInProcessResult
    ) -> None:
        text = "\n".join([*sentences, self.log.text, *map(str, result.all_events)]).lower()
        assert SECRET not in text, f"a person's data in messages: {text[max(0, text.index(SECRET) - 300) :][:600]}"
        assert names or not sentences, sentences
        assert not untouched or sentences, "untouched without an error"
        for sentence in sentences:
            assert any(remedy in sentence for remedy in REMEDIES), ("no remedy", sentence)
            assert "Traceback" not in sentence, sentence

    def _rows(self, name: str) -> Rows:
        recipients = self.installation.vendor.recipients(LISTS[name])
        return {recipient["id"]: recipient["attributes"]["entity-id"] or "" for recipient in recipients}

    def _about(self, addresses: Collection[str]) -> list[str]:
        return [f"{address} {what} at {at:%m-%d %H:%M:%S}" for address, what, at in self.story if address in addresses]

    def _unjudged(self, name: str) -> set[str]:
        opt_in_id = self.crm.opt_ins[name]
        return {address for address, about in self.undated if about == opt_in_id}


class _Counted:
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: Call, answer: Answer) -> object:
        self.count += 1
        return answer()


class _Meanwhile:
    """Lets a person withdraw between two pages of a read; most are on a page that was read already."""

    def __init__(self, days: Days) -> None:
        self._days = days
        self._before = len(self._clears())
        self._address: str | None = None
        self._cleared: set[int | None] = set()

    def patched(self) -> AbstractContextManager[object]:
        """Return the patch."""
        crm = self._days.crm
        return calls_meet(crm.stand_in, self._withdraw, crm.is_later_page, first=self._days.rng.randint(1, 40))

    def exempt(self, name: str) -> set[str]:
        """Return who may be in a list or not, since it was being replaced at that moment."""
        return {self._address} if self._address and LISTS[name] in self._cleared else set()

    def _withdraw(self, _: Call, answer: Answer) -> object:
        days = self._days
        self._address = days.rng.choice(days.people[:8]).address
        self._cleared = set(self._clears()[self._before :])
        days.withdraw(self._address, datetime.now(UTC).replace(microsecond=0))
        return answer()

    def _clears(self) -> list[int | None]:
        return [call.list_id for call in self._days.installation.vendor.calls("clear")]


def _address(number: int) -> str:
    return f"p{number}.{SECRET}@example.org"

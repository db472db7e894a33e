"""A month of feedback that isn't imported yet, in four layouts, and the lists that must follow from it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from campaign_sync.crm.sql import schema
from campaign_sync_tests.installation import LONG_AGO, NORD, Installation, epoch_ms

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 29
SEVERAL_READERS = {
    "getOutBounces": {},
    "getResponses": {"recipient": "Empfänger", "time": "Zeit", "category": "Art", "time_format": "%d.%m.%Y %H:%M:%S"},
    "getUnsubscribes": {"recipient": "Empfänger", "time": "Zeitpunkt", "time_format": "%d.%m.%Y %H:%M:%S"},
    "getMailingUnsubscribes": {"recipient": 2, "mailing": 1, "time": 0},
}
HEADERS = {"getResponses": ["Art", "Zeit", "Empfänger"], "getUnsubscribes": ["Empfänger", "Zeitpunkt"]}

Publish = Callable[[int, str, Sequence[Sequence[str]], datetime], None]


@dataclass(frozen=True)
class Event:
    """An unsubscribe or bounce of person `number`, and the reader that reports it."""

    number: int
    reader: str
    at: datetime
    category: str = ""

    @property
    def address(self) -> str:
        """The person's address. Every seventieth isn't in the CRM."""
        return f"person{self.number}@example.{'net' if self.number % 70 == 0 else 'org'}"

    @property
    def row(self) -> list[str]:
        """The event as its reader writes it."""
        german = f"{self.at.astimezone(BERLIN):%d.%m.%Y %H:%M:%S}"
        epoch = epoch_ms(self.at)
        return {
            "getOutBounces": [self.address, epoch],
            "getResponses": [self.category, german, f" {self.address.upper()}"],
            "getUnsubscribes": [self.address, german],
            "getMailingUnsubscribes": [epoch, "777001", self.address],
        }[self.reader]

    @property
    def consents_again(self) -> bool:
        """Whether the person consents again an hour after leaving: every fiftieth does."""
        return self.number % 50 == 0 and "nsubscribes" in self.reader


class Backlog:
    """Unsubscribes and bounces of different people, spread over a month, and some people without either.

    Every sixth unsubscribe is reported by both readers; every eighth bounce is soft.
    """

    def __init__(self, unsubscribes: int, bounces: int) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.people = unsubscribes + bounces + (unsubscribes + bounces) // 5
        self.events = sorted(self._events(unsubscribes, bounces), key=lambda event: event.at)

    def _events(self, unsubscribes: int, bounces: int) -> Iterator[Event]:
        for number in range(1, unsubscribes + 1):
            at = self.now - (1 + number * 7919 % (DAYS * 24)) * HOUR
            readers = ["getUnsubscribes", "getMailingUnsubscribes"]
            for reader in readers if number % 6 == 0 else readers[number % 2 :][:1]:
                yield Event(number, reader, at)
        for number in range(unsubscribes + 1, unsubscribes + bounces + 1):
            at = self.now - (1 + number * 7907 % (DAYS * 24)) * HOUR
            if number % 8 < 5:
                yield Event(number, "getOutBounces", at)
            else:
                yield Event(number, "getResponses", at, "softbounce" if number % 8 == 5 else "Hard Bounce")

    def fill(self, installation: Installation) -> None:
        """Add the people to the CRM, each with the newsletter's consent, and the consents given again."""
        installation.settings["mandators"]["nord"]["feedback"] = {"readers": SEVERAL_READERS}
        del installation.settings["mandators"]["nord"]["lists"]["products"]
        numbers = [number for number in range(6, self.people + 1) if number % 70]
        with installation.crm() as crm:
            people = [{"id": f"c{number}", "email": f"Person{number}@example.org "} for number in numbers]
            crm.execute(schema.contact.insert(), people)
            common: dict[str, Any] = {"entity_type": "contact"}
            members = [{**common, "marketing_list_id": "nord", "entity_id": f"c{number}"} for number in numbers]
            crm.execute(schema.marketing_list_member.insert(), members)
            granted = {**common, "opt_in_id": "newsletter-nord", "kind": "granted", "source": "web form"}
            events = [
                {**granted, "id": f"g{number}", "entity_id": f"c{number}", "occurred_at": LONG_AGO}
                for number in numbers
            ]
            events += [
                {**granted, "id": f"a{number}", "entity_id": f"c{number}", "occurred_at": at + HOUR}
                for number, at in {event.number: event.at for event in self.events if event.consents_again}.items()
                if number % 70
            ]
            crm.execute(schema.consent_event.insert(), events)

    def publish(self, publish: Publish) -> None:
        """Publish one file per reader and day, with the reader's header if it has one."""
        for (age, reader), events in groupby(
            sorted(self.events, key=lambda event: (self._age(event), event.reader)),
            key=lambda event: (self._age(event), event.reader),
        ):
            rows = [event.row for event in events]
            header = [HEADERS[reader]] if reader in HEADERS else []
            publish(NORD, reader, [*header, *rows], self.now - age * DAY)

    def _age(self, event: Event) -> int:
        """Return how many whole days ago the event's file was written: in the night after the event."""
        return (self.now - event.at) // DAY

    @property
    def remaining(self) -> list[str]:
        """The addresses that are in the newsletter when everything has been imported, sorted."""
        out = {event.address for event in self.events if not (event.consents_again or event.category == "softbounce")}
        everybody = {f"person{number}@example.org" for number in range(1, self.people + 1) if number % 70 or number < 6}
        return sorted(everybody - out)

    @property
    def unmatched_addresses(self) -> set[str]:
        """The addresses that the CRM doesn't know."""
        return {event.address for event in self.events if event.number % 70 == 0}


def crm_rows(installation: Installation) -> list[str]:
    """Return all rows of the CRM that feedback can change."""
    with installation.crm() as crm:
        return [
            str(tuple(row))
            for table in ("consent_event", "address_state")
            for row in crm.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        ]

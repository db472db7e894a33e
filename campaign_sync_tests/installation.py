"""A small real installation for tests: a CRM of invented people, the sandbox on a port, a configuration file."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import yaml
from sqlalchemy import Connection, create_engine

from campaign_sync.cli.run import problems
from campaign_sync.config import Configuration, load_configuration
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.schema import create_crm
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync.orchestration.daily_replacement import daily_job_name
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import Recipient, VendorState
from campaign_sync.sandbox.wsdl import PartNames
from campaign_sync.storage.state import State
from campaign_sync_tests import first_day

NORD, SUED = 8100, 8200
NEWSLETTER, PRODUCTS, SUED_NEWSLETTER = 100000000011, 100000000012, 100000000021
ATTRIBUTES = [*(field.value for field in TechnicalField), "Vorname", "Nachname", "Ort"]
LONG_AGO = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)

ADDRESSES = [f"person{number}@example.org" for number in range(1, 6)]
"""The addresses of the five contacts, `c1` to `c5`."""

ENVIRONMENT = {"USERNAME_OF_BOTH": "api-user", "PASSWORD_OF_BOTH": "correct horse"}


class Installation:
    """Two mandators: `nord` with the lists newsletter and products, `sued` with newsletter. Five contacts each."""

    def __init__(self, folder: Path, vendor: VendorState, base_url: str, crm_url: str, state_url: str) -> None:
        self.folder, self.vendor, self.crm_url = folder, vendor, crm_url
        self.settings: dict[str, Any] = _settings(base_url, crm_url, state_url, folder / "frames")
        self.environment = dict(ENVIRONMENT)
        self.retry_policy: RetryPolicy | None = None
        self._built: tuple[object, dg.Definitions] | None = None

    @property
    def configuration(self) -> Configuration:
        """The configuration file, written from `settings`, as loaded."""
        path = self.folder / "campaign_sync.yaml"
        path.write_text(yaml.safe_dump(self.settings, allow_unicode=True), encoding="utf-8")
        return load_configuration(path, self.environment)

    @property
    def definitions(self) -> dg.Definitions:
        """The Dagster definitions of the configuration, as a code location has them: loaded when it has changed."""
        likeness = (json.dumps([self.settings, self.environment], default=str), self.retry_policy)
        if self._built is None or self._built[0] != likeness:
            definitions = build_definitions(self.configuration, datetime.now(UTC), self.retry_policy)
            self._built = (likeness, definitions)
        return self._built[1]

    def sensor(self, name: str) -> dg.SensorDefinition:
        """Return the sensor `campaign_sync_<name>`, which serves both mandators."""
        full_name = name_in_dagster(f"campaign_sync_{name}", prefix=self.configuration.prefix)
        return self.definitions.resolve_sensor_def(full_name)

    def list_settings(self, mandator: str = "nord", name: str = "newsletter") -> dict[str, Any]:
        """Return the section of a list, to be changed."""
        section: dict[str, Any] = self.settings["mandators"][mandator]["lists"][name]
        return section

    def run(
        self,
        mandator: str = "nord",
        instance: dg.DagsterInstance | None = None,
        assets: Sequence[Sequence[str]] | None = None,
        tags: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run the mandator's daily job, or a few of its assets, to its end."""
        job = self.definitions.resolve_job_def(daily_job_name(mandator, prefix=self.configuration.prefix))
        with self._state_file_open():
            return job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                asset_selection=[dg.AssetKey(list(key)) for key in assets] if assets else None,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags=tags,
                run_id=run_id,
            )

    @contextmanager
    def _state_file_open(self) -> Iterator[None]:
        """Keep a connection to the state database on SQLite: else each of a run's many empties its log at the end."""
        file = self.folder / "state.db"
        if not file.exists():
            yield
            return
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield

    def day(self, mandator: str = "nord") -> dg.ExecuteInProcessResult:
        """Run the mandator's daily job, which must succeed."""
        result = self.run(mandator)
        assert result.success, problems(result)
        return result

    def first_day(self, mandator: str = "nord", *, fails: bool = False) -> None:
        """Let the first day pass, as `day` does: copied from an installation that was the same, if there is one.

        Nothing may be patched but what all tests patch.

        Args:
            mandator: whose day it is.
            fails: whether its run must fail.
        """
        more = (mandator, self.environment, self.retry_policy)
        kept = first_day.kept(self.folder, self.settings, self.settings["optimizely"]["base_url"], *more)
        if kept and kept.exists():
            first_day.restore(kept, self.folder)
            assert self.configuration  # writes the file, as a day does
            return
        result = self.run(mandator)
        assert result.success != fails, problems(result)
        if kept:
            first_day.keep(self.folder, kept)

    @contextmanager
    def crm(self) -> Iterator[Connection]:
        """Yield a connection to the CRM's database, for changes that are committed at the end."""
        with _transaction(self.crm_url) as connection:
            yield connection

    @contextmanager
    def state_database(self) -> Iterator[Connection]:
        """Yield a connection to the state database, for changes that are committed at the end."""
        with _transaction(self.configuration.storage.state_url.get_secret_value()) as connection:
            yield connection

    @contextmanager
    def state(self) -> Iterator[State]:
        """Yield the state database."""
        with State(self.configuration.storage.state_url.get_secret_value()) as state:
            yield state

    def add_contact(
        self, entity_id: str, email: str, *, consent: str | None = "newsletter-nord", **more: str | None
    ) -> None:
        """Add a contact to the newsletters of both mandators, with a granted consent unless `consent` is None."""
        with self.crm() as crm:
            person = {
                "id": entity_id,
                "email": email,
                "first_name": "Jürgen",
                "last_name": "Groß",
                "city": "Köln",
                **more,
            }
            crm.execute(schema.contact.insert().values(person))
            self._join(crm, entity_id)
            if consent:
                self._consent(crm, entity_id, consent, "granted", LONG_AGO)

    def consent(self, entity_id: str, opt_in_id: str, kind: str, at: datetime) -> None:
        """Append a consent event of a contact."""
        with self.crm() as crm:
            self._consent(crm, entity_id, opt_in_id, kind, at)

    def leave(self, address: str, at: datetime | None = None, mandator_id: int = NORD) -> None:
        """Unsubscribe an address at the vendor, and add the row to its export."""
        self.vendor.unsubscribe(mandator_id, address)
        moment = at or datetime.now(UTC) - timedelta(hours=1)
        self.vendor.publish(mandator_id, "getUnsubscribes", [[address, epoch_ms(moment)]])

    def leave_through(self, list_id: int, address: str) -> None:
        """Unsubscribe a recipient of a list from the mandator nord, with an export row that names the list."""
        self.vendor.unsubscribe(NORD, address)
        self.vendor.respond(NORD, "getUnsubscribes", list_id, [address, epoch_ms(datetime.now(UTC))])

    def addresses(self, list_id: int = NEWSLETTER) -> list[str]:
        """Return the addresses in a list, sorted."""
        return sorted(recipient["id"] for recipient in self.vendor.recipients(list_id))

    def clears(self) -> int:
        """Return how often any list was cleared."""
        return len(self.vendor.calls("clear"))

    def fill_by_hand(self, list_id: int, addresses: Sequence[str]) -> None:
        """Put recipients into a list as another user of the vendor would."""
        self.vendor.put(list_id, [Recipient(id=address) for address in addresses])

    def _join(self, crm: Connection, entity_id: str) -> None:
        for marketing_list in ("nord", "sued"):
            crm.execute(
                schema.marketing_list_member.insert().values(
                    marketing_list_id=marketing_list, entity_type="contact", entity_id=entity_id
                )
            )

    def _consent(self, crm: Connection, entity_id: str, opt_in_id: str, kind: str, at: datetime) -> None:
        event = {
            "id": f"{entity_id}-{opt_in_id}-{kind}-{at:%Y%m%d%H%M%S}",
            "entity_type": "contact",
            "entity_id": entity_id,
            "opt_in_id": opt_in_id,
            "kind": kind,
            "occurred_at": at,
            "source": "web form",
        }
        crm.execute(schema.consent_event.insert().values(event))

    def populate(self) -> None:
        """Fill the CRM with five contacts that consented to everything."""
        create_crm(self.crm_url)
        with self.crm() as crm:
            for opt_in_id, mandator in (
                ("newsletter-nord", "nord"),
                ("products-nord", "nord"),
                ("newsletter-sued", "sued"),
            ):
                values = {"opt_in_id": opt_in_id, "mandator": mandator, "description": "News", "media_type": "email"}
                crm.execute(schema.opt_in.insert().values(values))
            for key, name in (("nord", "Newsletter Nord"), ("sued", "Newsletter Süd")):
                crm.execute(
                    schema.marketing_list.insert().values(id=key, name=name, entity_type="contact", kind="static")
                )
            crm.execute(
                schema.report.insert().values(id="r1", name="All contacts", entity_type="contact", view_name="contact")
            )
        for number, first_name in enumerate(("Änne", "Björn", "Çelik", "Dörte", "Émile"), start=1):
            self.add_contact(f"c{number}", f"person{number}@example.org", first_name=first_name)
            self.consent(f"c{number}", "products-nord", "granted", LONG_AGO)
            self.consent(f"c{number}", "newsletter-sued", "granted", LONG_AGO)


@contextmanager
def running_installation(folder: Path, *, crm_url: str | None = None, state_url: str | None = None,
        part_names: PartNames = "in0", two_lists: bool = True) -> Iterator[Installation]:  # fmt: skip
    """A populated installation with a running sandbox; on SQLite unless URLs say otherwise.

    Without `two_lists` the mandator `nord` has the newsletter only, which takes half the time.
    """
    with ExitStack() as stack:
        vendor = VendorState(folder / "vendor.db")
        stack.callback(vendor.close)
        for mandator_id in (NORD, SUED):
            vendor.add_mandator(mandator_id, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
        vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES)
        vendor.add_list(NORD, PRODUCTS, "Produkte", ATTRIBUTES)
        vendor.add_list(SUED, SUED_NEWSLETTER, "Newsletter Süd", ATTRIBUTES)
        base_url = stack.enter_context(serve(vendor, part_names=part_names))
        built = Installation(
            folder,
            vendor,
            base_url,
            crm_url or f"sqlite:///{folder / 'crm.db'}",
            state_url or f"sqlite:///{folder / 'state.db'}",
        )
        if not two_lists:
            del built.settings["mandators"]["nord"]["lists"]["products"]
        built.populate()
        yield built


def epoch_ms(moment: datetime) -> str:
    """Return a time as the vendor's exports write it, in milliseconds since 1970."""
    return str(int(moment.timestamp() * 1000))


@contextmanager
def _transaction(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def _far_from_now() -> str:
    """A daily schedule half a day away: whatever the time, a test of a few hours never meets the next planned day."""
    return f"30 {(datetime.now(ZoneInfo('Europe/Berlin')).hour + 12) % 24} * * *"


def _settings(base_url: str, crm_url: str, state_url: str, frames: Path) -> dict[str, Any]:
    def recipient_list(list_id: int, opt_in_id: str, select: dict[str, str]) -> dict[str, Any]:
        return {
            "recipient_list_id": list_id,
            "kind": "regular",
            "approval": "never",  # tests fill lists by hand that aren't about that
            "opt_in_id": opt_in_id,
            "select": select,
            "attributes": {"Vorname": "first_name", "Nachname": "last_name", "Ort": "city"},
        }

    def mandator(mandator_id: int, lists: dict[str, Any]) -> dict[str, Any]:
        credentials = {"username": {"env": "USERNAME_OF_BOTH"}, "password": {"env": "PASSWORD_OF_BOTH"}}
        return {"mandator_id": mandator_id, **credentials, "schedule": _far_from_now(), "lists": lists}

    return {
        "optimizely": {"base_url": base_url},
        "crm": {"url": crm_url},
        "storage": {"frames": str(frames), "state_url": state_url, "crm_copies": str(frames.parent / "crm_copies")},
        "mandators": {
            "nord": mandator(
                NORD,
                {
                    "newsletter": recipient_list(NEWSLETTER, "newsletter-nord", {"marketing_list": "Newsletter Nord"}),
                    "products": recipient_list(PRODUCTS, "products-nord", {"report": "All contacts"}),
                },
            ),
            "sued": mandator(
                SUED,
                {
                    "newsletter": recipient_list(
                        SUED_NEWSLETTER, "newsletter-sued", {"marketing_list": "Newsletter Süd"}
                    )
                },
            ),
        },
    }

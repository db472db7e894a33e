"""The demonstration CRM: invented people, their consents, and what changes from one day to the next.

Everything but the dates of new consents follows from the seed and the day, so that every demonstration is the same.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql import schema
from campaign_sync.crm.sql.engine import crm_engine, crm_errors
from campaign_sync.domain.address import InvalidAddressError, normalize_address
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.entity import EntityType
from campaign_sync.sandbox import demo_people
from campaign_sync.sandbox.demo_history import DAY_ONE, Entity, Row, consent_event, history, old_bounces

_PRODUCTS = ("Lastenrad", "Wärmepumpe", "Hörgerät", "Kräuterbeet")
_OPT_INS = (
    ("newsletter-nord", "nord", "Newsletter der Nord GmbH"),
    ("produktnews-nord", "nord", "Neuigkeiten zu Produkten der Nord GmbH"),
    ("newsletter-sued", "sued", "Newsletter der Süd AG"),
    ("partner-sued", "sued", "Partnerbrief der Süd AG"),
)
_MARKETING_LISTS = (
    ("ML-1", "Newsletter Nord", None, "static", None),
    ("ML-2", "Partner Süd", "account", "static", None),
    ("ML-4", "Partner Süd (Kopie)", "account", "static", None),
    (
        *("ML-3", "Newsletter Süd", "contact", "dynamic"),
        "SELECT id AS entity_id FROM contact WHERE country = 'DE' AND postal_code >= '70000'",
    ),
)
_interest = Table(
    "demo_product_interest",
    MetaData(),
    Column("lead_id", String(64), primary_key=True),
    Column("product", Text, nullable=False),
)
"""A table that isn't in the CRM contract: the report joins it to the leads. It also marks a demonstration CRM."""

_REPORT_VIEW = (
    "CREATE VIEW produktinteressenten AS SELECT lead.id AS entity_id, demo_product_interest.product AS product "
    "FROM lead JOIN demo_product_interest ON demo_product_interest.lead_id = lead.id"
)


DAMAGED_ON, REPAIRED_ON = 14, 15
"""The days on which partners get into a wrong list and out of it."""


@dataclass(frozen=True)
class DemoFeedback:
    """The vendor's feedback of one day: normalized addresses, and patterns of its blocklist."""

    unsubscribed: list[str]
    bounced: list[str]
    blocked_patterns: list[str]


def create_demo_crm(url: str, people: int = 10_000, seed: int = 1) -> None:
    """Create the demonstration CRM as it is on day one. An existing one isn't changed.

    Args:
        url: an empty database, or a SQLite file to create.
        people: the number of contacts, leads and accounts together.
        seed: determines the people.

    Raises:
        CrmError: the database can't be reached, or holds other people.
    """
    schema.create_crm(url)
    engine = crm_engine(url)
    with crm_errors(engine, "creating the demonstration CRM"), engine.begin() as connection:
        if inspect(connection).has_table(_interest.name):
            return
        if connection.scalar(select(func.count()).select_from(schema.contact)):
            raise CrmError("this CRM holds people already; choose an empty database for the demonstration")
        _fill(connection, people, _random(seed))


def advance_demo_crm(url: str, day: int, moment: datetime) -> None:
    """Apply the changes of a day: new people, consents given and withdrawn, people who moved. Idempotent.

    On day 14 two fifths of the partners get into a wrong marketing list by mistake, and on day 15 back.

    Args:
        url: a demonstration CRM.
        day: 2 for the day after its creation.
        moment: when consents are given and withdrawn.

    Raises:
        CrmError: it can't be reached, or isn't a demonstration CRM.
    """
    rng = _random(day)
    with _demo_crm(url) as connection:
        contacts = list(connection.scalars(select(schema.contact.c.id).order_by(schema.contact.c.id)))
        new_ids = [f"N-{day:03}-{number:03}" for number in range(max(2, len(contacts) // 300))]
        if new_ids[0] in contacts:  # the day has passed already
            return
        north, south = new_ids[::2], new_ids[1::2]
        newcomers = demo_people.people(EntityType.CONTACT, [*north, *south], len(north), rng)
        connection.execute(insert(schema.contact), newcomers)
        members = _members("ML-1", [(EntityType.CONTACT, contact_id) for contact_id in north])
        connection.execute(insert(schema.marketing_list_member), members)
        _move(connection, rng.sample(contacts, len(contacts) // 250 + 1), rng)
        _change_consents(connection, day, moment, north, south, rng)
        if day == DAMAGED_ON:
            _move_partners(connection, "ML-2", "ML-4")
        elif day == REPAIRED_ON:
            _move_partners(connection, "ML-4", "ML-2")


def demo_addresses(url: str, day: int, mandator: str) -> DemoFeedback:
    """Return the vendor's feedback of a day: other people every day, the same ones for the same day.

    Raises:
        CrmError: the CRM can't be reached, or isn't a demonstration CRM.
    """
    with _demo_crm(url) as connection:
        addresses = _addresses_at_creation(connection, mandator)
    rng = _random(f"{mandator} {day}")
    _random(mandator).shuffle(addresses)
    start = (day - 1) * 40 % max(1, len(addresses) - 40)
    todays = addresses[start : start + 40]
    return DemoFeedback(
        unsubscribed=todays[: rng.randint(16, 26)],
        bounced=todays[26 : 26 + rng.randint(6, 12)],
        blocked_patterns=[*([f"*@{demo_people.THROWAWAY_DOMAIN}"] if day == 1 else []), *todays[39:]],
    )


def _random(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - these people are invented, not secret


@contextmanager
def _demo_crm(url: str) -> Iterator[Connection]:
    """Open a transaction in a demonstration CRM. Raise CrmError for a real one, which must not get invented people."""
    engine = crm_engine(url)
    with crm_errors(engine, "working on the demonstration CRM"), engine.begin() as connection:
        if not inspect(connection).has_table(_interest.name):
            raise CrmError("this isn't a demonstration CRM; create one in an empty database first")
        columns = {column["name"] for column in inspect(connection).get_columns(schema.consent_event.name)}
        if not set(schema.consent_event.columns.keys()) <= columns:
            raise CrmError(
                "this demonstration was created by an earlier version; remove .campaign_sync/demo to start again"
            )
        yield connection


def _fill(connection: Connection, size: int, rng: random.Random) -> None:
    contacts, leads, accounts = (
        [f"{kind}-{number:06}" for number in range(int(size * share))]
        for kind, share in (("C", 0.56), ("L", 0.26), ("A", 0.18))
    )
    northern = int(size * 0.26)
    rows = demo_people.people(EntityType.CONTACT, contacts, northern, rng)
    rows[1] |= {"first_name": "Jördis", "last_name": "Übermut", "email": demo_people.LEAVER}
    lead_rows = demo_people.people(EntityType.LEAD, leads, len(leads) // 2, rng)
    for contact, lead in list(zip(rows, lead_rows, strict=False))[::25]:
        lead["email"] = contact["email"]  # a lead that became a contact and was never removed
    connection.execute(insert(schema.contact), rows)
    connection.execute(insert(schema.lead), lead_rows)
    connection.execute(
        insert(schema.account), demo_people.people(EntityType.ACCOUNT, accounts, len(accounts) // 4, rng)
    )

    newsletter_nord = [(EntityType.CONTACT, contact_id) for contact_id in contacts[: int(size * 0.24)]]
    newsletter_nord += [(EntityType.LEAD, lead_id) for lead_id in leads[: int(size * 0.12)]]
    partners = [(EntityType.ACCOUNT, account_id) for account_id in accounts[: int(size * 0.08)]]
    interested = leads[-int(size * 0.18) :]
    newsletter_sued = [(EntityType.CONTACT, contact_id) for contact_id in contacts[northern:]]
    _define(connection, interested, rng)
    connection.execute(
        insert(schema.marketing_list_member), [*_members("ML-1", newsletter_nord), *_members("ML-2", partners)]
    )

    report = [(EntityType.LEAD, lead_id) for lead_id in interested]
    audiences = (newsletter_nord, report, newsletter_sued, partners)
    histories = (
        event
        for (opt_in_id, *_), audience in zip(_OPT_INS, audiences, strict=True)
        for entity in audience
        for event in history(entity, opt_in_id, rng)
    )
    events = [{"id": f"E-{number:07}", **event} for number, event in enumerate(histories)]
    connection.execute(insert(schema.consent_event), events)
    connection.execute(insert(schema.address_state), old_bounces(rows))


def _define(connection: Connection, interested: list[str], rng: random.Random) -> None:
    """Insert the opt-ins, marketing lists and the report."""
    opt_ins = [
        {"opt_in_id": opt_in_id, "mandator": mandator, "description": description, "media_type": "email"}
        for opt_in_id, mandator, description in _OPT_INS
    ]
    connection.execute(insert(schema.opt_in), opt_ins)
    names = schema.marketing_list.columns.keys()
    connection.execute(
        insert(schema.marketing_list), [dict(zip(names, values, strict=True)) for values in _MARKETING_LISTS]
    )
    _interest.create(connection)
    connection.execute(
        insert(_interest), [{"lead_id": lead_id, "product": rng.choice(_PRODUCTS)} for lead_id in interested]
    )
    connection.execute(text(_REPORT_VIEW))
    connection.execute(
        insert(schema.report),
        [{"id": "R-1", "name": "Produktinteressenten", "entity_type": "lead", "view_name": "produktinteressenten"}],
    )


def _members(marketing_list_id: str, entities: list[Entity]) -> list[Row]:
    return [
        {"marketing_list_id": marketing_list_id, "entity_type": entity_type.value, "entity_id": entity_id}
        for entity_type, entity_id in entities
    ]


def _move(connection: Connection, contact_ids: list[str], rng: random.Random) -> None:
    """Move contacts: most within their region, every tenth out of it and thereby out of the dynamic list."""
    contact = schema.contact
    codes = connection.execute(
        select(contact.c.id, contact.c.postal_code).where(contact.c.id.in_(contact_ids)).order_by(contact.c.id)
    ).all()
    moves = []
    for number, (contact_id, postal_code) in enumerate(codes):
        goes_south = (postal_code >= "70000") != (number % 10 == 0)
        new_code, new_city = rng.choice(demo_people.SOUTH if goes_south else demo_people.NORTH)
        moves.append({"mover": contact_id, "new_code": new_code, "new_city": new_city})
    connection.execute(
        update(contact)
        .where(contact.c.id == bindparam("mover"))
        .values(postal_code=bindparam("new_code"), city=bindparam("new_city")),
        moves,
    )


def _move_partners(connection: Connection, source: str, target: str) -> None:
    member = schema.marketing_list_member
    is_chosen = (member.c.marketing_list_id == source) & (func.substr(member.c.entity_id, -1) >= "6")
    connection.execute(update(member).where(is_chosen).values(marketing_list_id=target))


def _change_consents(
    connection: Connection, day: int, moment: datetime, north: list[str], south: list[str], rng: random.Random
) -> None:
    """Add the consents of newcomers, some withdrawals at the service desk, and some renewed consents."""
    events = [
        consent_event((EntityType.CONTACT, contact_id), opt_in_id, ConsentKind.GRANTED, moment, "form:website")
        for opt_in_id, contact_ids in (("newsletter-nord", north), ("newsletter-sued", south))
        for contact_id in contact_ids
    ]
    for opt_in_id, *_ in _OPT_INS:
        for past, now, number, source in (
            (ConsentKind.GRANTED, ConsentKind.WITHDRAWN, 9, "crm:service desk"),
            (ConsentKind.WITHDRAWN, ConsentKind.GRANTED, 4, "form:website"),
        ):
            entities = _entities_at_creation(connection, opt_in_id, past)
            for entity in rng.sample(entities, min(number, len(entities))):
                events.append(consent_event(entity, opt_in_id, now, moment, source))  # noqa: PERF401 - three loops deep
    connection.execute(
        insert(schema.consent_event),
        [{"id": f"D-{day:03}-{number:04}", **event} for number, event in enumerate(events)],
    )


def _entities_at_creation(connection: Connection, opt_in_id: str, kind: ConsentKind) -> list[Entity]:
    """Return the entities that had an event of this kind on day one, whatever happened later."""
    event = schema.consent_event
    query = (
        select(event.c.entity_type, event.c.entity_id)
        .where(event.c.opt_in_id == opt_in_id, event.c.kind == kind, event.c.occurred_at < DAY_ONE)
        .where(event.c.id.startswith("E-"))
        .distinct()
    )
    return sorted((EntityType(row.entity_type), row.entity_id) for row in connection.execute(query))


def _addresses_at_creation(connection: Connection, mandator: str) -> list[str]:
    """Return the normalized addresses with a consent for this mandator before day one and no withdrawal."""
    opt_in_ids = [opt_in_id for opt_in_id, of, _ in _OPT_INS if of == mandator]
    granted, withdrawn = (
        {entity for opt_in_id in opt_in_ids for entity in _entities_at_creation(connection, opt_in_id, kind)}
        for kind in (ConsentKind.GRANTED, ConsentKind.WITHDRAWN)
    )
    writable = granted - withdrawn
    addresses = set()
    for entity_type, table in schema.ENTITY_TABLES.items():
        for entity_id, email in connection.execute(select(table.c.id, table.c.email).where(table.c.email.is_not(None))):
            if (entity_type, entity_id) in writable:
                with suppress(InvalidAddressError):
                    addresses.add(normalize_address(email))
    return sorted(addresses - {demo_people.LEAVER})

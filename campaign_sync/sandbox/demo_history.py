"""The history of the invented people before day one: consents, withdrawals and bounces."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.feedback import BounceKind

Entity = tuple[EntityType, str]
Row = dict[str, object]

DAY_ONE = datetime(2026, 1, 1, tzinfo=UTC)
"""Events before it come with the new CRM; later ones with the days that follow."""

_TEXT_VERSIONS = ("2021-01", "2022-05", "2024-03")
"""Versions of the consent text, by the month of their introduction."""


def history(entity: Entity, opt_in_id: str, rng: random.Random) -> Iterator[Row]:
    """Yield the consent events of one entity for one opt-in before day one: mostly a single grant."""
    moment = DAY_ONE - timedelta(days=rng.randint(30, 1500), seconds=rng.randint(0, 86_399))
    later, latest = moment + timedelta(days=rng.randint(1, 14)), moment + timedelta(days=rng.randint(15, 29))
    chance = rng.random()
    if chance < 0.015:
        return
    yield consent_event(entity, opt_in_id, ConsentKind.GRANTED, moment, "form:website")
    if chance < 0.035:
        yield consent_event(entity, opt_in_id, ConsentKind.WITHDRAWN, later, "form:preferences")
    elif chance < 0.045:
        yield consent_event(entity, opt_in_id, ConsentKind.WITHDRAWN, later, "crm:service desk")
        yield consent_event(entity, opt_in_id, ConsentKind.GRANTED, latest, "form:website")
    elif chance < 0.048:
        yield consent_event(entity, opt_in_id, ConsentKind.WITHDRAWN, moment, "crm:import")
    elif chance < 0.4:
        yield consent_event(entity, opt_in_id, ConsentKind.CONFIRMED, moment + timedelta(minutes=7), "double opt-in")


def consent_event(entity: Entity, opt_in_id: str, kind: ConsentKind, moment: datetime, source: str) -> Row:
    """Return a row of `consent_event` without its id."""
    agreed = kind is not ConsentKind.WITHDRAWN
    return {
        "entity_type": entity[0].value,
        "entity_id": entity[1],
        "opt_in_id": opt_in_id,
        "kind": kind.value,
        "occurred_at": moment,
        "source": source,
        "evidence": f"{source}, archived" if kind is ConsentKind.CONFIRMED else None,
        "text_version": max(version for version in _TEXT_VERSIONS if version <= f"{moment:%Y-%m}") if agreed else None,
    }


def old_bounces(contacts: list[dict[str, str | None]]) -> list[Row]:
    """Return bounces of earlier years, with addresses in the spelling of the CRM."""
    return [
        {
            "address": row["email"],
            "bounce_kind": BounceKind.HARD.value if position % 2 else BounceKind.SOFT.value,
            "bounced_at": DAY_ONE - timedelta(days=position % 700),
            "mandator": None,
            "source": "crm:import",
        }
        for position, row in enumerate(contacts[::75])
        if row["email"]
    ]

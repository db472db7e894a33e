"""The write-back of responses into a CRM in a SQL database with tables for them. A repetition writes nothing."""

import uuid
from collections.abc import Collection, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Column, Connection, Engine, insert, inspect, select
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError

from campaign_sync.crm.port import RecordedResponses
from campaign_sync.crm.sql.chunks import IDS_PER_QUERY, chunks, existing, writing
from campaign_sync.crm.sql.engine import crm_errors, read_only
from campaign_sync.crm.sql.schema import campaign, required_columns, response, response_metadata
from campaign_sync.domain.response import Response

_RESPONSES = uuid.UUID("5d7b1c52-6f0a-4a0e-8a7e-0c5d1b7e9a34")
"""Namespace of response ids. It must never change: by its id a response is known to be written already."""

_DOING = "recording responses"


def takes_responses(engine: Engine) -> bool:
    """Return whether both optional tables exist with all their columns."""
    with crm_errors(engine, "looking for the tables of responses"), read_only(engine) as connection:
        inspector = inspect(connection)
        return all(
            set(required_columns(table)) <= _columns(inspector, table.name) for table in response_metadata.sorted_tables
        )


def record_responses(engine: Engine, responses: Sequence[Response]) -> RecordedResponses:
    """Append responses. See `Crm.record_responses`."""
    with crm_errors(engine, _DOING), read_only(engine) as connection:
        campaigns = _known(connection, campaign.c.mailing_id, {str(entry.mailing_id) for entry in responses})
        people = existing(connection, {entry.entity for entry in responses if entry.entity})
    of_campaigns = [entry for entry in responses if str(entry.mailing_id) in campaigns]
    of_people = [entry for entry in of_campaigns if entry.entity in people]
    rows = list({row["id"]: row for row in map(_row, of_people)}.values())
    written = 0
    for chunk in chunks(rows):
        with writing(engine, _DOING) as connection:
            known = _known(connection, response.c.id, [row["id"] for row in chunk])
            new = [row for row in chunk if row["id"] not in known]
            if new:
                connection.execute(insert(response), new)
        written += len(new)
    return RecordedResponses(
        written=written,
        already_known=len(of_people) - written,
        without_campaign=len(responses) - len(of_campaigns),
        unknown_recipient=len(of_campaigns) - len(of_people),
    )


def _columns(inspector: Inspector, table: str) -> set[str]:
    try:
        return {info["name"] for info in inspector.get_columns(table)}
    except NoSuchTableError:
        return set()


def _known(connection: Connection, key: Column[str], ids: Collection[str]) -> set[str]:
    known: set[str] = set()
    for chunk in chunks(sorted(ids), IDS_PER_QUERY):
        known |= {str(value).strip() for value in connection.execute(select(key).where(key.in_(chunk))).scalars()}
    return known


def _row(entry: Response) -> dict[str, Any]:
    moment = entry.occurred_at.astimezone(UTC)
    identity = [entry.kind.value, str(entry.mailing_id), str(entry.entity), moment.isoformat(), entry.detail or ""]
    return {
        "id": str(uuid.uuid5(_RESPONSES, "\n".join(identity))),
        "kind": entry.kind.value,
        "mailing_id": str(entry.mailing_id),
        "entity_type": entry.entity.entity_type.value if entry.entity else None,
        "entity_id": entry.entity.entity_id if entry.entity else None,
        "occurred_at": moment,
        "detail": entry.detail,
    }

"""Invented people as frames of the CRM's rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from campaign_sync.domain.checks import CheckContext, ListSchema
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.size_limits import SizeLimits
from campaign_sync.domain.suppression import Suppressed, SuppressionKind

OPT_IN = OptIn("newsletter", "nord", "Newsletter Nord", "email")
LIST_SCHEMA = ListSchema(
    opt_in_id=OPT_IN.opt_in_id,
    attributes={"Vorname": "first_name", "Ort": "city"},
    technical={field: field.value for field in TechnicalField},
    limits=SizeLimits(min_rows=0),
)
NO_SUPPRESSIONS = CheckContext(
    suppressed=Suppressed(),
    vendor_attributes=frozenset(LIST_SCHEMA.list_attributes),
)
PERSON: Mapping[str, Any] = {
    "entity_type": "contact",
    "entity_id": "1",
    "email": "anna@example.org",
    "consent_event_id": "e1",
    "consent_kind": "granted",
    "consent_at": pd.Timestamp("2026-01-02T03:04:05Z"),
    "consent_source": "crm",
    "consent_evidence": "form",
    "consent_text_version": "2026-01",
    "first_name": "Änne",
    "city": "Köln",
}
SUPPRESSION: Mapping[str, Any] = dict.fromkeys(
    ("kind", "address", "entity_type", "entity_id", "opt_in_id", "since", "source")
)
ADDRESSES = ("anna@example.org", "bo@example.com", "Bo@Example.COM ", "zoë@münchen.example", "no address", "", None)


def crm_selection(people: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the CRM's rows of people, each a `PERSON` with other values where given."""
    return _texts([{**PERSON, **person} for person in people], PERSON, except_for="consent_at")


def suppression(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a suppression frame of the CRM."""
    return _texts([{**SUPPRESSION, **entry} for entry in entries], SUPPRESSION, except_for="since")


def _texts(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], except_for: str) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(columns))
    texts = frame.astype({column: "str" for column in columns if column != except_for})
    return texts.assign(**{except_for: pd.to_datetime(frame[except_for], utc=True)})


def populations() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return a strategy for all kinds of people in the CRM, with distinct ids."""
    person = st.fixed_dictionaries(
        {
            "entity_type": st.sampled_from(["contact", "lead", "account"]),
            "entity_id": st.integers(1, 30).map(str),
            "email": st.sampled_from(ADDRESSES),
            "consent_kind": st.sampled_from(["granted", "confirmed", "withdrawn", None]),
            "consent_source": st.sampled_from(["crm", "optimizely:nord", None]),
            "first_name": st.sampled_from(["Änne", "A\u0308nne", " Bo ", "b\x00d", None]),
        }
    )
    return st.lists(person, max_size=12, unique_by=lambda row: (row["entity_type"], row["entity_id"]))


def suppressions() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return a strategy for all kinds of suppressions."""
    address = st.sampled_from(["anna@example.org", "bo@example.com", "zoë@xn--mnchen-3ya.example"])
    bounce = st.fixed_dictionaries({"kind": st.just("bounce"), "address": address})
    by_address = st.fixed_dictionaries(
        {
            "kind": st.just("unsubscribe"),
            "address": address,
            "opt_in_id": st.sampled_from([None, "newsletter", "events"]),
        }
    )
    pending = st.fixed_dictionaries({"kind": st.just("pending"), "address": address})
    by_entity = st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["unsubscribe", SuppressionKind.REMEMBERED]),
            "entity_type": st.sampled_from(["contact", "lead", "account"]),
            "entity_id": st.integers(1, 30).map(str),
            "opt_in_id": st.sampled_from(["newsletter", "events"]),
        }
    )
    block = st.fixed_dictionaries({"kind": st.just("block"), "address": address})
    return st.lists(bounce | by_address | by_entity | pending | block, max_size=6)

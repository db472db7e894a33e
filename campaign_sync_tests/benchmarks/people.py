"""Invented people for benchmarks: the rows of a list with 15 attributes, as a snapshot has them."""

import numpy as np
import pandas as pd

from campaign_sync.domain.checks import LIST_PREFIX, ListSchema
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField

FIRST = ("Jürgen", "Zoë", "Anna", "Łukasz", "Søren", "Marie-Claire", "Ünal", "Peter", "Chloé", "Bärbel")
LAST = ("Groß-Öttinger", "Müller", "O’Neill", "Çelik", "Schmidt & Söhne", "Jäger", "Nowak", "Ibáñez", "Weiß", "Koch")
CITY = ("Köln am Rhein", "München", "Zürich", "Graz", "Kraków", "Århus", "Paris", "Bad Nauheim", "Wien", "Ulm")
STREET = ("Lange Straße", "Am Mühlbach", "Rue de l’Église", "Königsallee", "Hauptstraße", "Gänsemarkt")
COMPANY = ("Müller & Söhne GmbH", "Nordlicht AG", "ACME <Europe> Ltd.", "Bäckerei Öhm", "Stahl KG", "")

CONTRACT = ListSchema(
    opt_in_id="newsletter",
    attributes={
        name: name
        for name in ("Vorname", "Nachname", "Ort", "Straße", "Firma", "Anrede", "PLZ", "Kundennummer", "Score", "Seit")
    },
    technical={field: field.value for field in TechnicalField},
)
"""With the technical fields: 15 attributes."""


def people(rows: int) -> pd.DataFrame:
    """Return rows of a snapshot: entity, recipient id, address, and the columns of `CONTRACT`."""
    random = np.random.default_rng(rows)
    numbers = np.arange(rows).astype("str")

    def choice(values: tuple[str, ...]) -> "pd.Series[str]":
        return pd.Series(pd.array(values, dtype="str").take(random.integers(0, len(values), rows)))

    def numbered(before: str, after: str = "") -> "pd.Series[str]":
        return before + pd.Series(numbers, dtype="str") + after

    address = numbered("person.", "@example.org")
    technical = {
        TechnicalField.OPT_IN_ID: pd.Series("newsletter", index=range(rows), dtype="str"),
        TechnicalField.DESCRIPTION: pd.Series("Newsletter der Marke Nord", index=range(rows), dtype="str"),
        TechnicalField.MEDIA_TYPE: pd.Series("email", index=range(rows), dtype="str"),
        TechnicalField.ENTITY_TYPE: choice(("contact", "lead", "account")),
        TechnicalField.ENTITY_ID: numbered("0037a00001"),
    }
    own = {
        "Vorname": choice(FIRST),
        "Nachname": choice(LAST),
        "Ort": choice(CITY),
        "Straße": choice(STREET) + " " + pd.Series(random.integers(1, 200, rows).astype("str"), dtype="str"),
        "Firma": choice(COMPANY),
        "Anrede": choice(("Frau", "Herr", "")),
        "PLZ": pd.Series(random.integers(10_000, 99_999, rows).astype("str"), dtype="str"),
        "Kundennummer": numbered("K-"),
        "Score": pd.Series(random.integers(0, 1000, rows).astype("str"), dtype="str"),
        "Seit": choice(("2019-04-01T00:00:00+00:00", "2021-11-30T00:00:00+00:00", "2024-02-29T00:00:00+00:00")),
    }
    listed = {CONTRACT.technical[field]: values for field, values in technical.items()} | own
    return pd.DataFrame(
        {
            RECIPIENT_ID: address,
            ADDRESS: address,
            "entity_type": technical[TechnicalField.ENTITY_TYPE],
            "entity_id": technical[TechnicalField.ENTITY_ID],
            **{LIST_PREFIX + name: listed[name] for name in CONTRACT.list_attributes},
        }
    )

"""Invented people with the data errors of real CRMs. No domain exists; all are reserved for examples."""

import random
import unicodedata

from campaign_sync.domain.entity import EntityType

_FIRST_NAMES = tuple(
    """
    Anna Ben Carla David Elif Fabian Greta Hannes Ida Jörg Käthe Leonie Mira Noah Özlem Paula Quentin Rosa Sören Thea
    Ulrich Vera Willi Xaver Yasemin Zoë Björn Günther Jürgen Bärbel Lukas Marlene Oskar Pia Rüdiger Sabine Tobias Uta
    """.split()  # noqa: SIM905 - a list of names reads better as text
)
_LAST_NAMES = tuple(
    """
    Müller Schäfer Köhler Größer Weiß Jäger Böhm Krüger Lüdtke Möller Öztürk Übermut Meyer Schmidt Fischer Weber Wagner
    Becker Hoffmann Koch Richter Klein Wolf Neumann Schwarz Zimmermann Braun Hartmann Lange Krause Lehmann Vogel Roth
    Beispielmann Muster Probst Testa Grünwald Süßmilch Dörfler
    """.split()  # noqa: SIM905
)
_COMPANIES = ("Bäckerei", "Druckerei", "Gärtnerei", "Spedition", "Tischlerei", "Brauerei", "Möbelhaus", "Reisebüro")
_DOMAINS = (
    *["example.org", "example.com", "example.net"] * 12,
    *("mail.example.org", "post.example.net", "büro.example.com", "müller-beispiel.example", "bäckerei-süd.example"),
)
THROWAWAY_DOMAIN = "wegwerf.example"
LEAVER = "joerdis.uebermut@example.org"
"""A person of the northern newsletter who unsubscribes after some days."""
NORTH = (("20095", "Hamburg"), ("28195", "Bremen"), ("24103", "Kiel"), ("10115", "Berlin"), ("50667", "Köln"))
SOUTH = (("80331", "München"), ("70173", "Stuttgart"), ("90402", "Nürnberg"), ("97070", "Würzburg"), ("89073", "Ulm"))
_ASCII = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ë": "e"})


def people(entity_type: EntityType, ids: list[str], north: int, rng: random.Random) -> list[dict[str, str | None]]:
    """Return rows of one entity table.

    Args:
        entity_type: which table; accounts also have a company.
        ids: their ids, one row each.
        north: the number of people, from the first, who live in the north; the others live in the south.
        rng: the source of randomness.
    """
    return [
        _person(entity_type, entity_id, position, NORTH if position < north else SOUTH, rng)
        for position, entity_id in enumerate(ids)
    ]


def _person(
    entity_type: EntityType, entity_id: str, position: int, cities: tuple[tuple[str, str], ...], rng: random.Random
) -> dict[str, str | None]:
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    postal_code, city = rng.choice(cities)
    return {
        "id": entity_id,
        "email": _address(f"{first}.{last}".lower().translate(_ASCII) + "." + entity_id.lower().replace("-", ""), rng),
        "first_name": None if rng.random() < 0.03 else _spelling(first, rng),
        "last_name": _damaged(last, position) or _spelling(last, rng),
        "salutation": rng.choice(("Frau", "Herr", None)),
        "company": f"{rng.choice(_COMPANIES)} {last} GmbH" if entity_type is EntityType.ACCOUNT else None,
        "language": "de",
        "country": "DE",
        "postal_code": postal_code,
        "city": city,
    }


def _address(local: str, rng: random.Random) -> str | None:
    address = f"{local}@{rng.choice(_DOMAINS)}"
    chance = rng.random()
    if chance < 0.002:
        return None
    if chance < 0.004:
        return address.replace("@", " at ")
    if chance < 0.005:
        return f"{local}@localhost"
    if chance < 0.006:
        return f"{local}@{THROWAWAY_DOMAIN}"
    if chance < 0.03:
        return address.title()
    if chance < 0.04:
        return address.upper()
    if chance < 0.06:
        return f"  {address} "
    if chance < 0.07:
        return unicodedata.normalize("NFD", address)
    return address


def _spelling(name: str, rng: random.Random) -> str:
    """Decompose the umlauts of some names, as some programs store them."""
    return unicodedata.normalize("NFD", name) if rng.random() < 0.1 else name


def _damaged(name: str, position: int) -> str | None:
    """Damage a few names as a faulty import does: a control character, or UTF-8 read as latin-1."""
    if position % 4000 == 23:
        return f"{name[:2]}\x0b{name[2:]}"
    if position % 6000 == 42:
        return "Müller".encode().decode("latin-1")
    return None

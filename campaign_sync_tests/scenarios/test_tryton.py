"""Tryton, a real business software, read by a mapping in the YAML: its parties, and their newsletter subscriptions."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from campaign_sync_tests.installation import Installation
from campaign_sync_tests.scenarios import tryton_database

CRM = {
    "people_max_age": "1s",
    "opt_ins": {"newsletter-nord": {"mandator": "nord", "description": "Newsletter"}},
    "tables": {
        "contact": {
            "query": """
                SELECT party.id, party.name AS last_name, mechanism.value AS email
                FROM party_party AS party
                LEFT JOIN party_contact_mechanism AS mechanism
                  ON mechanism.party = party.id AND mechanism.type = 'email' AND mechanism.active
                WHERE party.active"""
        },
        "consent_state": {
            "query": """
                SELECT email AS address, CASE WHEN active THEN 'granted' ELSE 'withdrawn' END AS kind
                FROM marketing_email""",
            "constants": {"opt_in_id": "newsletter-nord", "source": "Tryton"},
        },
    },
    "write_back": {
        "withdrawal": ["UPDATE marketing_email SET active = 0 WHERE email = lower(trim(:email))"],
        "bounce": ["UPDATE party_contact_mechanism SET comment = 'bounced' WHERE lower(trim(value)) = :address"],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database that Tryton itself has made and filled."""
    folder = tmp_path_factory.mktemp("tryton")
    program = Path(tryton_database.__file__)
    subprocess.run([sys.executable, "-W", "ignore", str(program), str(folder)], check=True, capture_output=True)
    return folder / "crm.sqlite"


@pytest.fixture
def tryton(installation: Installation, made: Path, tmp_path: Path) -> Installation:
    database = tmp_path / "crm.sqlite"
    shutil.copy(made, database)
    installation.settings["crm"] = {"url": f"sqlite:///{database}", **CRM}
    installation.settings["storage"]["crm_copies"] = str(tmp_path / "copies")
    newsletter = installation.list_settings()
    newsletter["select"] = {"entity_type": "contact", "filter": {"field": "last_name", "like": "Jürgen%"}}
    newsletter["attributes"] = {"Nachname": "last_name"}
    del installation.settings["mandators"]["sued"]
    return installation


@pytest.mark.long
def test_subscribers_of_tryton_are_in_the_list_and_one_who_leaves_is_unsubscribed_in_tryton_once(
    tryton: Installation,
) -> None:
    everybody = sorted(f"person{number}@example.org" for number in range(1, tryton_database.PEOPLE))
    tryton.day()
    assert tryton.addresses() == everybody

    tryton.leave("person2@example.org")
    tryton.day()
    tryton.day()
    assert tryton.addresses() == [address for address in everybody if address != "person2@example.org"]
    engine = create_engine(tryton.settings["crm"]["url"])
    with engine.connect() as connection:
        left = connection.execute(text("SELECT email FROM marketing_email WHERE NOT active")).scalars().all()
    engine.dispose()
    assert left == ["person2@example.org"]

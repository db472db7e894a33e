"""What makes the approval of a plan void: other settings of its list, and another CRM."""

from typing import Any

import pytest
from pydantic import SecretStr

from campaign_sync.config import CrmSettings
from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.config.crm_sql import SqlSettings

OPT_INS = {name: {"mandator": "nord", "description": "News"} for name in ("newsletter-nord", "other")}

SQL = {"url": SecretStr("postgresql://reader:sesame@db.example:5432/crm"), "preset": "contract", "opt_ins": OPT_INS}
FILES = {
    "url": "sftp://files.example/crm",
    "write_back": "sftp://files.example/back",
    "username": SecretStr("reader"),
    "password": SecretStr("sesame"),
    "tables": {"contact": {}, "consent_state": {}},
    "opt_ins": OPT_INS,
}
DATAVERSE = {
    "url": "https://contoso.crm4.dynamics.com",
    "tenant_id": "contoso.example",
    "client_id": SecretStr("app"),
    "client_secret": SecretStr("sesame"),
    "bounce": {"contact": {"state": "new_bounce"}},
    "opt_ins": {"newsletter-nord": OPT_INS["other"] | {"field": {"contact": {"granted": "new_newsletter"}}}},
}
SALESFORCE = {
    "adapter": "salesforce",
    "url": "https://acme.my.salesforce.com",
    "client_id": SecretStr("key"),
    "client_secret": SecretStr("sesame"),
    "opt_ins": {"newsletter-nord": OPT_INS["other"] | {"field": {"contact": {"granted": "Newsletter__c"}}}},
}
BY_JWT = {"client_secret": None, "username": "app@example.org", "private_key": SecretStr("PEM")}

MODELS: list[tuple[type[CrmSettings], dict[str, Any]]] = [
    (SqlSettings, SQL),
    (FilesSettings, FILES),
    (DataverseSettings, DATAVERSE),
    (SalesforceSettings, SALESFORCE),
]
IDS = ["sql", "files", "dataverse", "salesforce"]


def content(model: type[CrmSettings], section: dict[str, Any], **changes: object) -> dict[str, Any]:
    return model.model_validate(section | changes).content("newsletter-nord")


@pytest.mark.parametrize(
    ("crm", "changes"),
    [
        (0, {"url": SecretStr("postgresql+psycopg2://another:rotated@db.example:5432/crm?sslmode=require")}),
        (0, {"people_max_age": "PT1M", "opt_ins": OPT_INS | {"third": OPT_INS["other"]}}),
        (0, {"write_back": {"bounce": ["UPDATE person SET bounced = 1 WHERE email = :address"]}}),
        (1, {"username": SecretStr("other"), "password": SecretStr("rotated"), "key_file": "key", "max_age": "PT9H"}),
        (1, {"known_hosts": "hosts", "write_back": "s3://elsewhere/back"}),
        (2, {"client_id": SecretStr("rotated"), "client_secret": None, "certificate": SecretStr("PEM")}),
        (3, BY_JWT | {"api_version": "67.0"}),
    ],
)
def test_who_logs_in_and_how_often_is_read_isnt_content(crm: int, changes: dict[str, Any]) -> None:
    assert content(*MODELS[crm], **changes) == content(*MODELS[crm])


@pytest.mark.parametrize(
    ("crm", "changes"),
    [
        *((0, {"url": SecretStr(f"postgresql://reader:sesame@{url}")}) for url in ("db2:5432/crm", "db:5432/crm_test")),
        (0, {"url": SecretStr("postgresql://reader@db.example:5432/crm?options=-csearch_path%3Dtest")}),
        (0, {"tables": {"contact": {"query": "SELECT * FROM contact WHERE id < 9"}}}),
        (0, {"consent_kinds": {"granted": ["yes"]}}),
        (0, {"opt_ins": {"newsletter-nord": OPT_INS["other"] | {"description": "Offers"}}}),
        (1, {"url": "sftp://files.example/test"}),
        (1, {"format": {"encoding": "cp1252"}}),
        (2, {"url": "https://contoso-test.crm4.dynamics.com"}),
        (3, {"url": "https://acme--test.sandbox.my.salesforce.com"}),
        (3, {"opt_ins": {"newsletter-nord": OPT_INS["other"] | {"purpose": "Newsletter"}}}),
    ],
)
def test_another_crm_or_another_way_to_read_it_is(crm: int, changes: dict[str, Any]) -> None:
    assert content(*MODELS[crm], **changes) != content(*MODELS[crm])


@pytest.mark.parametrize(("model", "section"), MODELS, ids=IDS)
def test_content_has_no_secrets(model: type[CrmSettings], section: dict[str, Any]) -> None:
    assert "sesame" not in str(content(model, section))
    assert "reader" not in str(content(model, section))

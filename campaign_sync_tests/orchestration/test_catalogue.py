"""Tags, owners and code versions of assets."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from campaign_sync.config import Configuration, load_configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.catalogue import asset_tags, code_version
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync_tests.test_definitions import DEMO, ENVIRONMENT


def changed(tmp_path: Path, **newsletter: object) -> Configuration:
    settings = yaml.safe_load(DEMO.read_text())
    settings["mandators"]["nord"]["owners"] = ["team:marketing"]
    settings["mandators"]["nord"]["lists"]["newsletter"] |= newsletter
    path = tmp_path / "campaign_sync.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True))
    return load_configuration(path, ENVIRONMENT)


def specs(configuration: Configuration) -> dict[str, dg.AssetSpec]:
    definitions = build_definitions(configuration, datetime(2026, 3, 2, tzinfo=UTC))
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_a_list_has_its_own_owners_or_those_of_its_mandator(tmp_path: Path) -> None:
    by_key = specs(changed(tmp_path, owners=["j.gross@example.org"]))

    assert list(by_key["nord/newsletter_snapshot"].owners) == ["j.gross@example.org"]
    assert list(by_key["nord/produktnews_snapshot"].owners) == ["team:marketing"]
    assert list(by_key["nord/bounces"].owners) == ["team:marketing"]


@pytest.mark.parametrize(
    ("kind", "pii", "tier"),
    [
        (AssetKind.RECIPIENT_LIST, "true", "1"),
        (AssetKind.SUPPRESSION_STATE, "true", "1"),
        (AssetKind.AUDIT, "false", "2"),
        (AssetKind.CLICKS, "true", "3"),
        (AssetKind.REPORT, "false", "3"),
    ],
)
def test_tags_say_whether_an_asset_has_personal_data_and_how_urgent_it_is(kind: AssetKind, pii: str, tier: str) -> None:
    assert asset_tags(kind) == {"domain": "marketing", "pii": pii, "tier": tier}


def test_the_code_version_of_a_list_changes_with_what_decides_who_is_in_it(tmp_path: Path) -> None:
    def version(**newsletter: object) -> str:
        return code_version(changed(tmp_path, **newsletter).mandators["nord"].lists["newsletter"])

    assert version() == version(title="Das Neueste 📬", owners=["team:crm"], limits={"max_shrink": 1}, priority=5)
    assert version() != version(opt_in_id="other-nord")
    assert version() != version(select={"marketing_list": "Newsletter Nord 2"})
    assert version().startswith(code_version(None) + "-")

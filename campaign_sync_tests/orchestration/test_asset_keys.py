"""Every key is of one asset, whatever lists are called."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync import definitions
from campaign_sync.config.field_types import KEY_PATTERN
from campaign_sync.domain.asset_names import OF_LISTS, AssetKind, AssetName
from campaign_sync.orchestration.asset_keys import asset_key, asset_name, feedback_keys, list_keys, replacement_keys

PRODUCT = Path(definitions.__file__).parent
NAMED = {"asset_key", "feedback_keys", "list_keys", "replacement_keys", "recipient_list_page", "AssetName"}
NAMED |= {"daily_job_name", "newest_attempts", "attempt_keys", "name_in_dagster", "mandator_tags", "mandators_by_value"}
"""What makes names in Dagster, or reads by them."""

ENDINGS = st.sampled_from(["", *(f"_{kind}" for kind in AssetKind)])
NAMES = st.builds(
    lambda start, ending: f"{start}{ending}"[:64],
    st.one_of(st.from_regex(KEY_PATTERN, fullmatch=True), st.sampled_from(list(AssetKind))),
    ENDINGS,
)
"""Names that the configuration allows; many of them are called like an asset, or end like one."""


def names_of(prefix: str, mandator: str, lists: list[str]) -> Iterator[AssetName]:
    yield from (AssetName(mandator, kind, prefix=prefix) for kind in AssetKind if kind not in OF_LISTS)
    yield from (AssetName(mandator, kind, name, prefix=prefix) for name in lists for kind in OF_LISTS)


@given(st.just("") | NAMES, NAMES, st.lists(NAMES, unique=True, max_size=6))
def test_a_key_stands_for_one_asset(prefix: str, mandator: str, lists: list[str]) -> None:
    names = list(names_of(prefix, mandator, lists))

    assert len({name.path for name in names}) == len(names)
    assert [AssetName.parse(name.path) for name in names] == names


@pytest.mark.parametrize("name", ["x", "x_snapshot", "snapshot", "suppression", "list", *AssetKind])
def test_a_list_may_be_called_like_an_asset(name: str) -> None:
    keys = {asset_key("nord", kind, name): kind for kind in OF_LISTS}

    assert {key: asset_name(key).kind for key in keys} == keys
    assert {asset_name(key).recipient_list for key in keys} == {name}
    assert not keys.keys() & {asset_key("nord", kind) for kind in AssetKind if kind not in OF_LISTS}


@pytest.mark.parametrize(
    "path",
    [
        ["nord", "newsletter"],
        ["nord", "recipient_list"],
        ["nord", "_snapshot"],
        ["a", "b", "c", "bounces"],
        ["bounces"],
    ],
)
def test_no_other_key_is_taken_for_one_of_an_asset(path: list[str]) -> None:
    with pytest.raises(ValueError, match=r"asset|AssetKind|values to unpack"):
        AssetName.parse(path)


def test_an_asset_of_a_list_needs_the_name_of_the_list() -> None:
    with pytest.raises(ValueError, match="snapshot with the recipient list None is the name of no asset"):
        AssetName("nord", AssetKind.SNAPSHOT)


def test_replacing_a_list_comes_after_the_feedback() -> None:
    assert feedback_keys("nord")[-1] == dg.AssetKey(["nord", "suppression_state"])
    assert [key.to_user_string() for key in list_keys("nord", "newsletter")] == [
        "nord/newsletter_selection",
        "nord/newsletter_snapshot",
        "nord/newsletter_recipient_list",
    ]
    assert replacement_keys("nord", ["newsletter"]) == [*feedback_keys("nord"), *list_keys("nord", "newsletter")]


def test_the_page_of_an_asset_is_dagsters() -> None:
    assert AssetName("nord", AssetKind.RECIPIENT_LIST, "newsletter").page == "/assets/nord/newsletter_recipient_list"


def test_no_name_in_dagster_is_made_without_the_prefix() -> None:
    forgotten = [
        f"{file.relative_to(PRODUCT)}:{call.lineno}"
        for package in ("orchestration", "alerts", "replacement", "cli")
        for file in (PRODUCT / package).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in NAMED
        if not any(keyword.arg == "prefix" for keyword in call.keywords)
    ]

    assert forgotten == []

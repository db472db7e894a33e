"""Assets are what `@dg.asset` would make of them."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from campaign_sync.config import load_configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.catalogue import asset_tags, code_version
from campaign_sync.orchestration.deadlines import freshness_policy
from campaign_sync.orchestration.io_manager import FRAME
from campaign_sync.orchestration.metadata import Materialized
from campaign_sync.orchestration.resource_parameters import with_resources
from campaign_sync.orchestration.resources import CrmResource, StateResource
from campaign_sync_tests.test_definitions import DEMO, ENVIRONMENT

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def function(
    context: dg.AssetExecutionContext, selection: pd.DataFrame, crm: CrmResource, state: StateResource
) -> Materialized:
    raise NotImplementedError


def test_an_asset_is_what_dagster_makes_of_the_same_function() -> None:
    settings = load_configuration(DEMO, ENVIRONMENT).mandators["nord"]
    key, selection = (asset_key("nord", kind, "newsletter") for kind in (AssetKind.RECIPIENT_LIST, AssetKind.SELECTION))
    dep = dg.AssetKey(["nord", "suppression-state"])
    checks = [dg.AssetCheckSpec("gate", asset=key, blocking=True), dg.AssetCheckSpec("proof", asset=key)]
    ours = AssetBuilder("nord", settings, NOW).asset(
        key,
        kinds=["table"],
        description="The list",
        metadata={"strategy": "clear"},
        ins={"selection": selection},
        deps=[dep],
        check_specs=checks,
        op_tags={"dagster/priority": "3"},
        returns_frame=True,
    )(function)
    dagsters = dg.asset(
        key=key,
        group_name="nord",
        kinds={"table"},
        description="The list",
        metadata={"strategy": "clear"},
        ins={"selection": dg.AssetIn(selection)},
        deps=[dep],
        check_specs=checks,
        op_tags={"dagster/priority": "3"},
        io_manager_key="campaign_sync_frames",
        dagster_type=FRAME,
        freshness_policy=freshness_policy(settings, NOW),
        tags=asset_tags(AssetKind.RECIPIENT_LIST),
        owners=list(settings.owners),
    )(with_resources("")(function))
    versioned = dagsters.map_asset_specs(
        lambda spec: spec.replace_attributes(code_version=code_version(settings.lists["newsletter"]))
    )

    assert step(ours) == step(versioned)
    assert list(ours.specs) == list(versioned.specs)
    assert (ours.keys, ours.check_keys, ours.can_subset) == (versioned.keys, versioned.check_keys, versioned.can_subset)
    assert ours.node_keys_by_input_name == versioned.node_keys_by_input_name
    assert ours.node_keys_by_output_name == versioned.node_keys_by_output_name
    assert ours.check_specs_by_output_name == versioned.check_specs_by_output_name


def step(asset: dg.AssetsDefinition) -> object:
    """Return all that Dagster knows of an asset's step."""
    op = asset.op
    inputs = [(entry.name, entry.dagster_type, entry.description) for entry in op.input_defs]
    outputs = [
        (entry.name, entry.dagster_type, entry.description, entry.metadata, entry.io_manager_key, entry.is_required)
        for entry in op.output_defs
    ]
    return (
        op.name,
        op.description,
        dict(op.tags),
        op.required_resource_keys,
        op.retry_policy,
        op.pool,
        inputs,
        outputs,
    )

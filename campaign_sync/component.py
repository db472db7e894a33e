"""The product as a component of a Dagster project: `type: campaign_sync.component.CampaignSyncComponent`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import dagster as dg

from campaign_sync.config import load_configuration
from campaign_sync.orchestration.code_location import build_definitions

_SETTINGS = ("attributes", "settings")
"""The place of inline settings in a `defs.yaml`."""


def _beside_defs_yaml(context: dg.ResolutionContext, path: str | None) -> Path | None:
    return context.resolve_source_relative_path(path) if path else None


def _file_with_settings(context: dg.ResolutionContext, settings: Mapping[str, Any] | None) -> Path | None:
    """Return the `defs.yaml` itself: read as written, its mistakes have their lines, and its values no detours."""
    if settings is None:
        return None
    if context.source_position_tree is None:
        raise ValueError("settings are written in a defs.yaml; in Python, call build_definitions")
    return Path(context.source_position_tree.position.filename)


class CampaignSyncComponent(dg.Component, dg.Resolvable, dg.Model):
    """Recipient lists in Optimizely Campaign, replaced every day from a CRM: one group of assets for each mandator."""

    config: Annotated[
        Path | None,
        dg.Resolver(
            _beside_defs_yaml,
            model_field_type=str,
            description="The configuration, a YAML file. A relative path begins at the folder of this file.",
            examples=["campaign_sync.yaml"],
        ),
    ] = None
    settings: Annotated[
        Path | None,
        dg.Resolver(
            _file_with_settings,
            model_field_type=dict[str, Any],
            inject_before_resolve=False,
            description="The configuration itself, with the same keys as the YAML file, instead of `config`.",
        ),
    ] = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions of all mandators.

        Raises:
            ConfigurationError: the configuration has mistakes; the message lists all with their places.
            ValueError: both `config` and `settings` are given, or none of them.
        """
        if (self.config is None) == (self.settings is None):
            raise ValueError(f"{context.path}: name either `config`, the path of the YAML file, or its `settings`")
        configuration = load_configuration(
            self.config or self.settings, section=() if self.config else _SETTINGS, whole=False
        )
        return build_definitions(configuration, datetime.now(UTC))

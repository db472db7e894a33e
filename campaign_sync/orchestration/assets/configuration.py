"""The asset `[mandator, "configuration"]`: a mandator's settings, and whether they can be used."""

from collections.abc import Sequence

import dagster as dg

from campaign_sync.config import Configuration, unavailable_secrets
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.catalogue import asset_tags
from campaign_sync.orchestration.check_names import USABLE
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.metadata import in_language
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.names import name_in_dagster

_REMEDY = Message(
    "nothing of this mandator runs, the others do. Correct what the check says, try `campaign-sync check`, and reload "
    "the code location; for an environment variable, restart it."
)


def settings_problems(configuration: Configuration, mandator: str) -> tuple[str, ...]:
    """Return the mistakes in a mandator's settings, or which of its secrets can't be read in this process.

    Each is a line with its place in the file, without values. Secrets of the CRM count: each mandator needs them.
    """
    if broken := configuration.broken_mandators.get(mandator):
        return broken.problems
    return (*unavailable_secrets(configuration.mandators[mandator]), *unavailable_secrets(configuration.crm))


def usable_result(key: dg.AssetKey, problems: Sequence[str]) -> dg.AssetCheckResult:
    """Return the result of the check `usable`, of the asset with this key, where these are the problems."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=USABLE,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="\n\n".join(problems) or Message("the settings can be used"),
        metadata={"mistakes": len(problems)},
    )


def configuration_assets(
    configuration: Configuration, mandator: str
) -> list[dg.AssetSpec | dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset and its check, of a mandator whose settings are broken or not."""
    key = asset_key(mandator, AssetKind.CONFIGURATION, prefix=configuration.prefix)
    settings = configuration.broken_mandators.get(mandator) or configuration.mandators[mandator]
    called = settings.display_name(mandator)
    problems = settings_problems(configuration, mandator) if mandator in configuration.broken_mandators else ()
    what = Message("The settings of {called} in the configuration file.", called=called)
    if problems:
        broken = Message("The settings of {called} are BROKEN:", called=called)
        what = join_messages("\n\n", [broken, *(f"- `{problem}`" for problem in problems)])
    spec = dg.AssetSpec(
        key,
        group_name=name_in_dagster(mandator, prefix=configuration.prefix),
        kinds={"yaml"},
        owners=list(settings.owners),
        tags=asset_tags(AssetKind.CONFIGURATION),
        description=asset_description(
            configuration.language, what, Message("mistakes, on the page of the check."), _REMEDY
        ),
        metadata=labelled({"mandator": called}, configuration.language),
    )

    @dg.asset_check(
        asset=key,
        name=USABLE,
        description=check_description(
            configuration.language,
            called,
            Message("the settings have no mistakes, and all secrets that they refer to can be read."),
            _REMEDY,
        ),
    )
    def usable() -> dg.AssetCheckResult:
        return in_language(usable_result(key, settings_problems(configuration, mandator)), configuration.language)

    return [spec, usable]

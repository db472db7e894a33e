"""The asset that compares lists with their proofs between replacements."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.list_drift import ListDrift
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.check_names import UNCHANGED
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import Materialized, in_language, seen_in, table
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.replacement.drift_check import DriftCheck, settle_abandoned_lists
from campaign_sync.replacement.list_settings import list_settings


def list_drift_asset(builder: AssetBuilder, configuration: Configuration, mandator: str) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "list_drift"]`: two calls per list, and a full read if these show a difference.

    It depends on the feedback, which explains why a recipient isn't in a list any more.
    """
    settings, key = (
        configuration.mandators[mandator],
        asset_key(mandator, AssetKind.LIST_DRIFT, prefix=configuration.prefix),
    )
    called = settings.display_name(mandator)

    @builder.asset(
        key,
        kinds={"table"},
        deps=[asset_key(mandator, AssetKind.SUPPRESSION_STATE, prefix=configuration.prefix)],
        description=asset_description(
            configuration.language,
            Message(
                "Whether the recipient lists of {called} still hold whom they were proven to hold. They aren't "
                "changed.",
                called=called,
            ),
            Message(
                "people in each list now, and what a full reading found of those who were sent: it is made only if "
                "the count, or a page at a random place, isn't as expected."
            ),
            Message("the error says what to correct. Lists aren't concerned."),
        ),
        metadata=labelled({"mandator": called}, configuration.language),
        check_specs=[
            dg.AssetCheckSpec(
                UNCHANGED,
                asset=key,
                description=check_description(
                    configuration.language,
                    called,
                    Message("no list was emptied, nor its people changed, at the vendor since its proof."),
                    Message(
                        "red: send nothing to the list that the check names, and replace it again. Yellow: a list "
                        "couldn't be checked; the check says since when, and why."
                    ),
                ),
            )
        ],
    )
    def list_drift(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        with translate_errors(context, run, state) as attempt:
            drift_check = DriftCheck(
                lambda: vendor.login(mandator),
                lambda opt_in_ids: crm.open().snapshot(opt_in_ids),
                state.open(),
                files.open(),
            )
            lists = [list_settings(configuration, mandator, name) for name in settings.lists]
            drifts = {recipient_list.name: drift_check.check(recipient_list) for recipient_list in lists}
            settle_abandoned_lists(mandator, settings.recipient_list_ids, drift_check.vendor, state.open())
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata=labelled(
                {
                    **{
                        Message("people in {name}", name=name): drift.in_list
                        for name, drift in drifts.items()
                        if drift and drift.in_list is not None
                    },
                    "lists": table({"list": name, "found": _in_words(drift)} for name, drift in drifts.items()),
                    "seconds": attempt.seconds,
                },
                settings.language,
            ),
            check_results=[in_language(_check(key, drifts), settings.language)],
        )

    return list_drift


def _in_words(drift: ListDrift | None) -> Message:
    if drift is None:
        return Message("not checked: it was never proven, is being replaced, or is incomplete")
    if drift.not_checked_since:
        return Message(
            "not checked since {moment}: {reason}",
            moment=moment(drift.not_checked_since, UTC),
            reason=drift.not_checked_because,
        )
    if drift.read_back:
        return drift.read_back.summary
    return Message("{people:,} people are in it, as proven", people=drift.in_list or 0)


def _check(key: dg.AssetKey, drifts: Mapping[str, ListDrift | None]) -> dg.AssetCheckResult:
    drifted = [name for name, drift in drifts.items() if drift and drift.drifted_since]
    unchecked = [name for name, drift in drifts.items() if drift and drift.not_checked_since]
    problems = [join_messages(": ", [name, _in_words(drifts[name])]) for name in dict.fromkeys([*drifted, *unchecked])]
    metadata: dict[str, Any] = {"lists changed": len(drifted), "lists not checked": len(unchecked)}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=UNCHANGED,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR if drifted else dg.AssetCheckSeverity.WARN,
        description=(
            join_messages(" · ", problems)
            if problems
            else Message("every list is as it was proven, as far as it was checked")
        ),
        metadata=metadata,
    )

"""The asset that shows what the next replacement of a list would do. It is materialized on request only."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.domain.rejection import describe_reason
from campaign_sync.inquiry.list_plan import Changes, ListPlan, Verdict
from campaign_sync.inquiry.plan_sources import open_planner
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import RECIPIENT_LIST_ID, Materialized, pick_metadata, seen_in, table
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.names import approval_job_name
from campaign_sync.orchestration.resources import RunResource, StateResource, VendorResource
from campaign_sync.replacement.list_approval import approving_command
from campaign_sync.replacement.list_settings import ListSettings

_VERDICTS: Mapping[Verdict, Message] = {
    "passed": Message("passed"),
    "warning": Message("warning"),
    "condition": Message("must be met by then"),
    "refuses": Message("refuses"),
}


def list_plan_asset(builder: AssetBuilder, configuration: Configuration, settings: ListSettings) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "<list>_plan"]`, which depends on nothing and on which nothing depends."""
    mandator = settings.mandator

    @builder.asset(
        asset_key(mandator, AssetKind.PLAN, settings.name, prefix=settings.prefix),
        kinds={"report"},
        description=asset_description(
            settings.language,
            Message(
                "What a replacement of “{display_name}” of {mandator_display_name} would do at the moment at which "
                "this plan was made. *Materialize* makes one for now; it changes no list. A run that waits for an "
                "approval makes one by itself.",
                display_name=settings.display_name,
                mandator_display_name=settings.mandator_display_name,
            ),
            Message(
                "people who would join, leave or change, compared with its last proof or with what was read back of "
                "it, and the rows that would be sent. A plan that would be refused is green all the same: its verdict "
                "says so."
            ),
            Message(
                "vendor, CRM or state couldn't be read. The run's error says what to correct. The list isn't concerned."
            ),
        ),
        metadata=labelled(
            {
                "mandator": settings.mandator_display_name,
                "list": settings.display_name,
                RECIPIENT_LIST_ID: str(settings.recipient_list_id),
                "opt-in": settings.schema.opt_in_id,
                **pick_metadata(settings),
            },
            settings.language,
        ),
    )
    def plan(
        context: dg.AssetExecutionContext, run: RunResource, vendor: VendorResource, state: StateResource
    ) -> Materialized:
        with (
            translate_errors(context, run, state) as attempt,
            open_planner(configuration, vendor.login(mandator), save=True) as planner,
        ):
            planned = planner.plan(settings)
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata={**plan_metadata(planned), **labelled({"seconds": attempt.seconds}, settings.language)},
        )

    return plan


def plan_metadata(plan: ListPlan) -> dict[str, Any]:
    """Return what the asset's page shows; numbers are plotted over all plans."""
    # A check that both the snapshot and the preflight make is named once, by what the latter finds.
    refusing = {
        check.outcome.name: join_messages(": ", [check.outcome.name, check.outcome.summary])
        for check in plan.checks
        if check.refuses
    }
    problems = [plan.problem] if plan.problem else []
    beginning = Message("would wait for an approval") if plan.needs_approval else Message("would be refused")
    refused = join_messages("; ", [beginning, *problems, *refusing.values()])
    counts = {"picked": plan.picked, "selected": plan.selected, "rows to send": plan.rows, "in list now": plan.in_list}
    metadata = {
        **({"plan": plan.id} if plan.id else {}),
        **(_approval(plan.settings, plan.id) if plan.id and plan.needs_approval else {}),
        "verdict": refused if plan.is_refused else Message("would run"),
        **{name: count for name, count in counts.items() if count is not None},
        **(_changes(plan.changes) if plan.changes else {}),
        **({"not compared": plan.not_compared} if plan.not_compared else {}),
        **({"expected seconds": round(plan.expected_time.total_seconds(), 1)} if plan.expected_time else {}),
        **_tables(plan),
    }
    return labelled(metadata, plan.settings.language)


def _approval(settings: ListSettings, plan_id: str) -> dict[str, Any]:
    job, command = approval_job_name(settings.mandator, prefix=settings.prefix), approving_command(settings, plan_id)
    how = Message(
        "launch the job {job} with this plan and a reason, or {command}", job=f"`{job}`", command=f"`{command}`"
    )
    return {"to approve": how}


def _changes(changes: Changes) -> dict[str, Any]:
    proven_at = changes.proven_at
    return {
        "compared with": Message("the proof of {moment}", moment=moment(proven_at, UTC))
        if proven_at
        else Message("what is in the list"),
        "joins": changes.joined,
        "leaves": sum(changes.left.values()),
        "changes": changes.changed,
    }


def _tables(plan: ListPlan) -> dict[str, Any]:
    checks = [
        {
            "step": check.stage.value,
            "check": check.outcome.name,
            "verdict": _VERDICTS[check.verdict],
            "found": check.outcome.summary,
        }
        for check in plan.checks
    ]
    rejected = [
        {"step": stage, "reason": describe_reason(reason), "people": people}
        for (stage, reason), people in plan.rejected.items()
    ]
    details: list[tuple[str, str, int]] = []
    if changes := plan.changes:
        details += [(Message("leave"), why, people) for why, people in changes.left.items()]
        details += [
            (Message("other values"), attribute, people) for attribute, people in changes.changed_attributes.items()
        ]
        details += [(Message("join, refused last time"), why, people) for why, people in changes.refused_before.items()]
    named = [{"change": change, "why": why, "people": people} for change, why, people in details]
    tables: dict[str, list[Any]] = {"checks": checks, "not sent": rejected, "changes by reason or attribute": named}
    return {name: table(records) for name, records in tables.items() if records}

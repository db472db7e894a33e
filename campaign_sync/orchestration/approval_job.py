"""The job by which people approve plans of a mandator's lists in Dagster's UI."""

from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.message import Message
from campaign_sync.domain.printable_text import printable
from campaign_sync.errors import CampaignSyncError
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.descriptions import asset_description
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.names import USER_TAG, approval_job_name, name_in_dagster
from campaign_sync.orchestration.resource_parameters import with_resources
from campaign_sync.orchestration.resources import StateResource
from campaign_sync.orchestration.run_tags import job_tags
from campaign_sync.replacement.errors import ApprovalError
from campaign_sync.replacement.list_approval import approve_plan, what_follows
from campaign_sync.replacement.list_settings import list_settings

MAX_NAME = 200
"""Of a typed name, in characters."""


def approval_job(configuration: Configuration, mandator: str) -> dg.JobDefinition:
    """Return the job of `mandator`, a key of the configuration.

    Its runs have no tag of the mandator: they wait for no other run, and belong to no day.
    """
    settings, prefix = configuration.mandators[mandator], configuration.prefix
    text = partial(translate, language=settings.language)
    name, op_name = approval_job_name(mandator, prefix=prefix), name_in_dagster(mandator, "approval", prefix=prefix)
    titles = {key: section.display_name(key) for key, section in settings.lists.items()}
    # Dagster keeps types by their names, so other lists of a mandator must have another one.
    digest = sha256(repr(titles).encode()).hexdigest()[:8]
    lists = dg.Enum(
        name_in_dagster("campaign_sync_list_of", mandator, digest, prefix=prefix),
        [dg.EnumValue(key, description=title) for key, title in titles.items()],
    )

    @dg.op(
        name=op_name,
        out=dg.Out(dg.Nothing),
        config_schema={
            "list": dg.Field(lists, description=text(Message("The list that the plan is of."))),
            "plan": dg.Field(str, description=text(Message("The id of the plan, from the page of the list's plan."))),
            "reason": dg.Field(
                str, description=text(Message("Why the list may become what the plan shows. It is recorded."))
            ),
            "name": dg.Field(
                str,
                is_required=False,
                default_value="",
                description=text(Message("Your name, if you don't log in to a proxy.")),
            ),
        },
    )
    @with_resources(prefix)
    def approve(context: dg.OpExecutionContext, state: StateResource) -> None:
        given = context.op_config
        settings_of_list = list_settings(configuration, mandator, given["list"])
        try:
            approved = approve_plan(
                state.open(),
                settings_of_list,
                given["plan"],
                _approver(context.run.tags.get(USER_TAG), given["name"]),
                given["reason"],
                datetime.now(UTC),
            )
        except CampaignSyncError as error:
            raise dg.Failure(printable(text(error.message)), allow_retries=False) from None
        context.add_output_metadata(
            labelled(
                {
                    "plan": approved.plan_id,
                    "approved by": printable(approved.approved_by),
                    "reason": printable(approved.reason),
                    "approved at": f"{approved.approved_at:%Y-%m-%d %H:%M:%S} UTC",
                    "what follows": what_follows(settings_of_list, approved.plan_id),
                    "holds": Message("until the list is proven, or its settings or those of the CRM change"),
                },
                settings.language,
            )
        )
        context.log.info("plan %s is approved", approved.plan_id)

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        tags=job_tags(settings),
        config={
            "ops": {op_name: {"config": {"list": next(iter(settings.lists)), "plan": "", "reason": "", "name": ""}}}
        },
        description=asset_description(
            settings.language,
            Message(
                "Approves a plan of a list of {mandator}: its next replacement may do what the plan shows; the "
                "run of this job says what follows. Materialize the list's plan, or take the one of a run that waits "
                "for it; read it, and launch this job with the plan's id and a reason.",
                mandator=settings.display_name(mandator),
            ),
            Message("none; the run shows who approved which plan, and why."),
            Message("nothing was approved. The run's error says what to correct."),
        ),
    )
    def job() -> None:
        approve()

    return job


def _approver(login: str | None, name: str) -> str:
    """Return who approves, and how that is known.

    Raises:
        ApprovalError: it isn't known.
    """
    if login:
        return f"proxy: {login}"
    typed = " ".join(name.split())
    if not typed or len(typed) > MAX_NAME or not typed.isprintable():
        raise ApprovalError(
            Message(
                "It isn't known who approves; write your name under `name`, in at most {most} characters.",
                most=MAX_NAME,
            )
        )
    return f"typed: {typed}"

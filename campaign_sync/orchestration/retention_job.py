"""The job that purges once a day what is older than the section `retention` of the configuration says."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from campaign_sync.config import Configuration
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.descriptions import asset_description, display_names
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.names import mandators_by_value, name_in_dagster
from campaign_sync.orchestration.own_runs import OwnDefinitions, location_of
from campaign_sync.orchestration.resource_parameters import with_resources
from campaign_sync.orchestration.resources import FilesResource, StateResource

NAME = "campaign_sync_retention"
"""Name of the job and of its schedule, without a prefix."""

QUIET_TIME = "20 23 * * *"
"""When it runs, in UTC: before the CRM's nightly exports and the replacements that follow them."""


def retention_job(
    configuration: Configuration,
    assets: Iterable[dg.AssetsDefinition],
    jobs: Sequence[Any],
    automations: Iterable[dg.ScheduleDefinition | dg.SensorDefinition],
) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Return the job and its schedule.

    Args:
        configuration: of everything.
        assets: all that this product defines.
        jobs: all others that it defines.
        automations: all schedules and sensors that it defines.
    """
    assets, name = list(assets), name_in_dagster(NAME, prefix=configuration.prefix)
    own = OwnDefinitions(
        mandators=frozenset(mandators_by_value(configuration.mandators, prefix=configuration.prefix)),
        jobs=frozenset([name, *(job.name for job in jobs)]),
        automations=frozenset([name, *(automation.name for automation in automations)]),
        assets=frozenset(key for asset in assets for key in asset.keys),
        checks=frozenset(key for asset in assets for key in asset.check_keys),
    )

    names = display_names(configuration, configuration.mandators)

    @dg.op(name=name_in_dagster("campaign_sync_purge", prefix=configuration.prefix), out=dg.Out(dg.Nothing))
    @with_resources(configuration.prefix)
    def purge(context: dg.OpExecutionContext, state: StateResource, files: FilesResource) -> None:
        from campaign_sync.orchestration.retention import Purge  # what erases people is for runs alone

        purged = Purge(
            configuration,
            own,
            context.instance,
            location_of(context.run),
            state.open(),
            files.open(),
            datetime.now(UTC),
            context.log.info,
            context.run_id,
        ).everything()
        context.add_output_metadata(labelled(purged.counts, configuration.language))
        context.log.info(", ".join(f"{kind}: {count}" for kind, count in purged.counts.items()))
        if purged.problems:
            raise dg.Failure(
                translate(
                    Message(
                        "not everything could be purged, and the next day tries again. {problems}",
                        problems=join_messages(" · ", purged.problems),
                    ),
                    configuration.language,
                ),
                allow_retries=False,
            )

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        description=asset_description(
            configuration.language,
            Message(
                "Removes what is older than the section retention of the configuration says, of {names}: {summary}. "
                "Runs, results and snapshots by which something is said of a list are kept, and so is all that "
                "isn't this product's.",
                names=names,
                summary=configuration.retention.summary,
            ),
            Message("in the log of each run: how many of each kind were removed."),
            Message(
                "no list is concerned, but the disk fills. The run's error says what to correct; the next day tries "
                "again."
            ),
        ),
    )
    def job() -> None:
        purge()

    schedule = dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=QUIET_TIME,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=translate(
            Message("Removes once a day, at a quiet time, what is older than its limit, of {names}.", names=names),
            configuration.language,
        ),
    )
    return job, schedule

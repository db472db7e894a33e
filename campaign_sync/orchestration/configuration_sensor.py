"""The sensor that shows which mandators' settings can't be used, and sends the alarms of those that are broken."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import dagster as dg

from campaign_sync.alerts.dispatch import configured_channels, send_notices
from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.incident import CONFIGURATION, DetectedIncidents, Incident, IncidentKind
from campaign_sync.domain.message import Message, join_messages
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.assets.configuration import settings_problems, usable_result
from campaign_sync.orchestration.check_names import USABLE
from campaign_sync.orchestration.mandator_secrets import are_secrets_of_runs
from campaign_sync.orchestration.mandator_threads import PatientThreads
from campaign_sync.orchestration.mandator_ticks import SEPARATOR, Cursors, MandatorTick, combine_ticks
from campaign_sync.orchestration.metadata import in_language
from campaign_sync.orchestration.names import name_in_dagster
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.state import State

_SHOWN = 3
"""How many mistakes an alarm shows; `campaign-sync check` has all."""


def configuration_incidents(
    configuration: Configuration, mandator: str, instance: dg.DagsterInstance, now: datetime
) -> Iterator[Incident]:
    """Yield the incident of a mandator whose settings can't be used, if they can't."""
    if problems := _known_problems(configuration, mandator, instance):
        shown = list(problems[:_SHOWN])
        if len(problems) > _SHOWN:
            shown.append(Message("and {count} more", count=len(problems) - _SHOWN))
        yield Incident(
            mandator,
            CONFIGURATION,
            IncidentKind.UNUSABLE,
            now,
            Message(
                "The settings of {mandator} can't be used: {problems:inline}.",
                mandator=mandator,
                problems=join_messages(" · ", shown),
            ),
            Message(
                "Until they are corrected, nothing of {mandator} runs: no list is replaced or repaired, and no "
                "feedback is imported; the other mandators run. Correct them, try `campaign-sync check`, reload the "
                "code location (restart it for an environment variable), and run {command}.",
                mandator=mandator,
                command=f"`campaign-sync run {mandator}`",
            ),
            f"{_page(configuration, mandator)}?view=checks&checkDetail={USABLE}",
        )


def _page(configuration: Configuration, mandator: str) -> str:
    return AssetName(mandator, AssetKind.CONFIGURATION, prefix=configuration.prefix).page


def configuration_sensor(configuration: Configuration) -> dg.SensorDefinition:
    """Return the sensor that evaluates the check `usable` of all mandators every five minutes.

    Incidents of mandators that aren't broken are the alarm sensor's, also if a secret of theirs is missing.
    """
    mandators = [*configuration.mandators, *configuration.broken_mandators]
    called = [settings.display_name(name) for name, settings in configuration.mandators.items()]
    called += [settings.display_name(name) for name, settings in configuration.broken_mandators.items()]
    threads: PatientThreads[str, MandatorTick] = PatientThreads()

    @dg.sensor(
        name=name_in_dagster("campaign_sync_configuration", prefix=configuration.prefix),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=translate(
            Message(
                "Shows on the asset `configuration` of each mandator whether its settings can be used, and sends "
                "alarms about those that are broken ({called}). If it is red, a mail server or a webhook rejected "
                "one, or the state database can't be used.",
                called=", ".join(called),
            ),
            configuration.language,
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursors, instance, logger = Cursors(context, mandators), context.instance, context.log

        def evaluate(mandator: str) -> MandatorTick:
            problems = _known_problems(configuration, mandator, instance)
            key = asset_key(mandator, AssetKind.CONFIGURATION, prefix=configuration.prefix)
            digest = sha256("\n".join(problems).encode()).hexdigest()[:16]
            return MandatorTick(
                summary="the settings can't be used" if problems else "the settings can be used",
                cursor=digest,
                events=() if cursors.get(mandator) == digest else (_evaluation(configuration, key, problems),),
                problem=SEPARATOR.join(_send_alarms(configuration, mandator, instance, logger)),
            )

        return combine_ticks(context, cursors, threads.run(mandators, evaluate))

    return sensor


def _known_problems(configuration: Configuration, mandator: str, instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Return a mandator's problems, without those of secrets where runs have others than this process."""
    if mandator in configuration.broken_mandators or are_secrets_of_runs(instance):
        return settings_problems(configuration, mandator)
    return ()


def _evaluation(configuration: Configuration, key: dg.AssetKey, problems: Sequence[str]) -> dg.AssetCheckEvaluation:
    result = in_language(usable_result(key, problems), configuration.language)
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=USABLE,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def _send_alarms(
    configuration: Configuration, mandator: str, instance: dg.DagsterInstance, logger: logging.Logger
) -> list[str]:
    """Send the alarms of a mandator if it is broken, and return why some couldn't be sent.

    Its other incidents stay open: nothing has become of them.
    """
    broken = configuration.broken_mandators.get(mandator)
    if broken is None or not broken.automation.alarms:
        return []
    now = datetime.now(UTC)
    try:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            view = state.view()
            unsettled = view.open_incidents(mandator).keys() - {CONFIGURATION}
            incidents = list(configuration_incidents(configuration, mandator, instance, now))
            state.incidents.reconcile({mandator: DetectedIncidents(incidents, unsettled)}, now)
            channels = configured_channels(configuration, mandator, lambda: logger)
            return send_notices(
                state, state.incidents.unsent(now), view, mandator, channels, dict.fromkeys(broken.lists)
            )
    except StateError as error:
        return [str(error)]

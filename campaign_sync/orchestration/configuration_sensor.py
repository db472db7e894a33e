"""The sensor that shows which mandators' settings can't be used, and sends the alarms of those that are broken."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import dagster as dg

from campaign_sync.alerts.dispatch import configured_channels, send_notices
from campaign_sync.config import Configuration
from campaign_sync.domain.asset_names import AssetKind, AssetName
from campaign_sync.domain.incident import CONFIGURATION, Incident, IncidentKind
from campaign_sync.orchestration.alert_sensor import UnsentAlertError
from campaign_sync.orchestration.assets.configuration import are_secrets_of_runs, settings_problems, usable_result
from campaign_sync.orchestration.check_names import USABLE
from campaign_sync.storage.errors import StateError
from campaign_sync.storage.state import State

_SHOWN = 3
"""How many mistakes an alarm shows; `campaign-sync check` has all."""


def configuration_incidents(
    configuration: Configuration, mandator: str, instance: dg.DagsterInstance, now: datetime
) -> Iterator[Incident]:
    """Yield the incident of a mandator whose settings can't be used, if they can't."""
    if problems := _known_problems(configuration, mandator, instance):
        more = f" · and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        yield Incident(
            mandator,
            CONFIGURATION,
            IncidentKind.UNUSABLE,
            now,
            f"The settings of {mandator} can't be used: {' · '.join(problems[:_SHOWN])}{more}.",
            f"Until they are corrected, nothing of {mandator} runs: no list is replaced or repaired, and no feedback "
            "is imported; the other mandators run. Correct them, try `campaign-sync check`, reload the code location "
            f"(restart it for an environment variable), and run `campaign-sync run {mandator}`.",
            f"{AssetName(mandator, AssetKind.CONFIGURATION).page}?view=checks&checkDetail={USABLE}",
        )


def configuration_sensor(configuration: Configuration) -> dg.SensorDefinition:
    """Return the sensor that evaluates the check `usable` of all mandators every five minutes.

    Incidents of mandators that aren't broken are the alarm sensor's, also if a secret of theirs is missing.
    """

    @dg.sensor(
        name="campaign_sync_configuration",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows on the asset `configuration` of each mandator whether its settings can be used, and sends "
        "alarms about those that are broken. If it is red, a mail server or a webhook rejected one, or the state "
        "database can't be used.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        mandators = [*configuration.mandators, *configuration.broken_mandators]
        problems = {name: _known_problems(configuration, name, context.instance) for name in mandators}
        known = json.loads(context.cursor or "{}")
        digests = {name: sha256("\n".join(lines).encode()).hexdigest()[:16] for name, lines in problems.items()}
        changed = [name for name in mandators if known.get(name) != digests[name]]
        unsent = " · ".join(_send_alarms(configuration, context))
        if unsent and not changed:
            raise UnsentAlertError(unsent)  # a failed tick shows; the next one tries again
        if unsent:  # a failed tick would forget the results
            context.log.error(unsent)
        wrong = ", ".join(name for name, lines in problems.items() if lines)
        return dg.SensorResult(
            skip_reason=unsent or (f"can't be used: {wrong}" if wrong else "all settings can be used"),
            asset_events=_evaluations({name: problems[name] for name in changed}),
            cursor=json.dumps(digests),
        )

    return sensor


def _known_problems(configuration: Configuration, mandator: str, instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Return a mandator's problems, without those of secrets where runs have others than this process."""
    if mandator in configuration.broken_mandators or are_secrets_of_runs(instance):
        return settings_problems(configuration, mandator)
    return ()


def _evaluations(problems: Mapping[str, Sequence[str]]) -> list[dg.AssetCheckEvaluation]:
    results = [usable_result(name, lines) for name, lines in problems.items()]
    return [
        dg.AssetCheckEvaluation(
            asset_key=result.asset_key,
            check_name=USABLE,
            passed=result.passed,
            severity=result.severity,
            description=result.description,
            metadata=result.metadata,
        )
        for result in results
        if result.asset_key
    ]


def _send_alarms(configuration: Configuration, context: dg.SensorEvaluationContext) -> list[str]:
    """Send the alarms of broken mandators, and return why some couldn't be sent.

    Their other incidents stay open: nothing has become of them.
    """
    alarming = {name: broken for name, broken in configuration.broken_mandators.items() if broken.automation.alarms}
    if not alarming:
        return []
    now = datetime.now(UTC)
    unsent = []
    try:
        with State(configuration.storage.state_url.get_secret_value()) as state:
            for name, broken in alarming.items():
                unsettled = state.incidents.open(name).keys() - {CONFIGURATION}
                incidents = configuration_incidents(configuration, name, context.instance, now)
                state.incidents.reconcile(name, incidents, unsettled, now)
                channels = configured_channels(configuration, name, lambda: context.log)
                unsent += send_notices(state, name, channels, broken.lists)
    except StateError as error:
        unsent.append(str(error))
    return unsent

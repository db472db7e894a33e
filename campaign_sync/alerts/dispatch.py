"""Delivers what each channel has yet to tell, and remembers what it has told."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from campaign_sync.alerts.apprise import AppriseChannel
from campaign_sync.alerts.channel import Channel, ChannelError
from campaign_sync.alerts.email import EmailChannel
from campaign_sync.alerts.log import LogChannel
from campaign_sync.alerts.webhook import WebhookChannel
from campaign_sync.config import Configuration
from campaign_sync.domain.incident import Notice, Stage
from campaign_sync.storage.state import State


def channels(configuration: Configuration, mandator: str, logger: Callable[[], logging.Logger]) -> list[Channel]:
    """The ways to tell of a mandator's troubles; the log is always one."""
    alarms, settings = configuration.alarms, configuration.mandators[mandator]
    ways: list[Channel] = [LogChannel(logger, settings.zone)]
    if alarms.email is not None:
        to = settings.alarms_to or alarms.email.to
        ways.append(EmailChannel(alarms.email, to, settings.zone, alarms.ui_url))
    ways += [WebhookChannel(key, one, settings.zone, alarms.ui_url) for key, one in alarms.webhooks.items()]
    ways += [
        AppriseChannel(key, target, settings.zone, alarms.ui_url)
        for key, target in alarms.apprise.items()
        if not target.mandators or mandator in target.mandators
    ]
    return ways


def tell(state: State, mandator: str, ways: Sequence[Channel], lists: Collection[str]) -> list[str]:
    """Let every channel tell what it hasn't told yet. Returns what kept some from it; the next look tries again.

    A channel that fails is left alone until then, and holds no other up. What isn't found any more of a list that isn't
    among `lists`, the mandator's, isn't over: nobody looks.
    """
    problems = []
    for channel in ways:
        try:
            for each in state.incidents.unsent(mandator, channel.name, datetime.now(UTC)):
                one = _unless_unwatched(each, state, lists)
                state.incidents.require_writable(one)  # else it would be told again at every look
                channel.send(one)
                state.incidents.mark_sent(one, channel.name, datetime.now(UTC))
        except ChannelError as error:
            problems.append(str(error))
    return problems


def _unless_unwatched(notice: Notice, state: State, lists: Collection[str]) -> Notice:
    trouble = notice.trouble
    if notice.stage is not Stage.ALL_CLEAR or not trouble.subject.is_list or trouble.subject.name in lists:
        return notice
    broken = state.replacements.incomplete(trouble.mandator, trouble.subject.name)
    if broken and state.replacements.proven_since(broken.recipient_list_id, broken.started_at):
        return notice  # by another name
    return dataclasses.replace(notice, stage=Stage.UNWATCHED)

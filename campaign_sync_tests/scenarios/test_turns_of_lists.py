"""The lists of a mandator are replaced one after the other, and each from a view of the CRM of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.crm.sql.crm_snapshot import SqlSnapshot
from campaign_sync.orchestration.retry_policy import RetryPolicy
from campaign_sync.replacement.list_replacer import ListReplacer
from campaign_sync_tests.installation import ADDRESSES, Installation


def steps_of(result: dg.ExecuteInProcessResult) -> list[str]:
    started = [event.step_key or "" for event in result.all_events if event.is_step_start]
    return [step.removeprefix("nord__") for step in started if not step.endswith(("bounces", "unsubscribes"))]


@pytest.mark.two_lists
def test_a_run_replaces_the_urgent_list_completely_before_it_selects_for_another(installation: Installation) -> None:
    installation.list_settings(name="products")["priority"] = 1
    assert steps_of(installation.day()) == [
        "suppression_state",
        "products_selection",
        "products_snapshot",
        "products_recipient_list",
        "newsletter_selection",
        "newsletter_snapshot",
        "newsletter_recipient_list",
    ]


@pytest.mark.two_lists
def test_no_view_of_the_crm_is_open_while_a_list_is_replaced(installation: Installation) -> None:
    open_views, during = [], []
    snapshot, replace = SqlCrm.snapshot, ListReplacer.replace

    @contextmanager
    def counted(self: SqlCrm, *arguments: Any) -> Iterator[Any]:
        with snapshot(self, *arguments) as view:
            open_views.append(view)
            yield view
            open_views.remove(view)

    def observed(self: ListReplacer, *arguments: Any) -> Any:
        during.append(len(open_views))
        return replace(self, *arguments)

    with patch.object(SqlCrm, "snapshot", counted), patch.object(ListReplacer, "replace", observed):
        installation.day()
    assert (during, open_views) == ([0, 0], [])


def test_a_selection_that_fails_reads_the_crm_anew_when_it_is_retried(installation: Installation) -> None:
    views, select = [], SqlSnapshot.select

    def failing_at_first(self: SqlSnapshot, *arguments: Any) -> Any:
        views.append(self)
        if len(views) == 1:
            raise CrmError("the connection was lost")
        return select(self, *arguments)

    installation.retry_policy = RetryPolicy(retries=1, seconds_unattended=0)
    with patch.object(SqlSnapshot, "select", failing_at_first):
        result = installation.run(tags={"dagster/schedule_name": "nord_daily"})
    assert result.success
    assert len(set(map(id, views))) == 2
    assert installation.addresses() == ADDRESSES

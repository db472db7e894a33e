"""What happens behind Dagster's UI: the real webserver, the real daemon, a run started by hand."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from campaign_sync_tests.installation import ENVIRONMENT, Installation
from campaign_sync_tests.stack import free_port
from campaign_sync_tests.waiting import PATIENCE, until

LAUNCH = """
mutation ($job: String!) {
  launchRun(executionParams: {
    selector: {jobName: $job, repositoryName: "__repository__", repositoryLocationName: "campaign_sync.definitions"}
    runConfigData: {}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""


def test_a_run_started_in_the_ui_replaces_the_lists(installation: Installation) -> None:
    assert installation.configuration
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"} | ENVIRONMENT
    command = [sys.executable, "-m", "campaign_sync", "dev", "--port", str(port)]
    with subprocess.Popen(command, cwd=installation.folder, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            ask = _asking(f"http://127.0.0.1:{port}/graphql")
            until(lambda: _loaded(ask), lambda: process.poll() is None)
            with pytest.raises(urllib.error.HTTPError, match="403"):  # as a website would ask, by an image
                urllib.request.urlopen(f"http://127.0.0.1:{port}/graphql?query=%7Bversion%7D", timeout=30)
            answer = ask(LAUNCH, {"job": "nord_daily_replace"})["launchRun"]
            assert answer["__typename"] == "LaunchRunSuccess", answer
            status = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
            run_id = {"id": answer["run"]["runId"]}
            ended = ("SUCCESS", "FAILURE", "CANCELED")
            until(lambda: ask(status, run_id)["runOrError"]["status"] in ended, lambda: process.poll() is None)
            assert ask(status, run_id)["runOrError"]["status"] == "SUCCESS"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()

    assert installation.addresses() == [f"person{number}@example.org" for number in range(1, 6)]


Asking = Callable[[str, dict[str, str]], dict[str, Any]]


def _asking(url: str) -> Asking:
    def ask(query: str, variables: dict[str, str]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    return ask


def _loaded(ask: Asking) -> bool:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
    try:
        entries = ask(query, {})["workspaceOrError"]["locationEntries"]
    except (urllib.error.URLError, ConnectionError):
        return False
    return [entry["loadStatus"] for entry in entries] == ["LOADED"]

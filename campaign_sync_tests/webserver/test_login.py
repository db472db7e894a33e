"""Who launched a run, as the proxy says and no client: for every way to launch one, alone and behind our proxies."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from websockets.asyncio.client import connect

from campaign_sync.orchestration.names import USER_TAG
from campaign_sync.webserver.login import HEADER_VARIABLE, LoginHeader
from campaign_sync_tests.webserver import servers
from campaign_sync_tests.webserver.conftest import DEFINITIONS
from campaign_sync_tests.webserver.servers import CADDY, GUARDED, NGINX, PASSWORD, USER, ask

pytestmark = pytest.mark.xdist_group("webserver")

FORGED = {"key": USER_TAG, "value": "forged"}
OTHER = {"key": "team", "value": "crm"}
ANNA, NO_LOGIN = [("X-Forwarded-User", "anna")], [("X-Other-User", "anna")]
RUN = "{ __typename ... on LaunchRunSuccess { run { runId tags { key value } } } ... on PythonError { message } }"


def params(*tags: dict[str, str], job: str = "approve") -> dict[str, object]:
    selector = {"repositoryLocationName": "definitions.py", "repositoryName": "__repository__", "jobName": job}
    return {"selector": selector, "executionMetadata": {"tags": list(tags)}}


def literal(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(part)}" for name, part in value.items()) + "}"
    return "[" + ", ".join(map(literal, value)) + "]" if isinstance(value, list) else json.dumps(value)


def launched_by(answer: str) -> list[str | None]:
    """The logins of the runs in an answer, in their order."""
    logins: list[str | None] = []

    def collect(part: object) -> None:
        if isinstance(part, dict) and isinstance(part.get("tags"), list):
            tags = {tag["key"]: tag["value"] for tag in part["tags"]}
            logins.append(tags.get(USER_TAG))
        elif isinstance(part, dict | list):
            for inner in part.values() if isinstance(part, dict) else part:
                collect(inner)

    collect(json.loads(answer))
    assert logins, answer
    return logins


def launch(port: int, headers: list[tuple[str, str]], *tags: dict[str, str]) -> str:
    query = "mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) " + RUN + " }"
    return ask(port, query, headers, {"p": params(*tags)})


@pytest.mark.parametrize(("headers", "login"), [(ANNA, "anna"), (NO_LOGIN, None)], ids=["logged in", "without a login"])
def test_a_run_has_the_login_of_the_proxy_however_it_is_launched(
    guarded: int, headers: list[tuple[str, str]], login: str | None
) -> None:
    forged = params(FORGED, OTHER, FORGED)
    assert launched_by(launch(guarded, headers)) == [login]
    assert OTHER["value"] in launch(guarded, headers, FORGED, OTHER)

    arguments = f"(executionParams: {literal(forged)}) {RUN}"
    inline = f"mutation {{ a: launchRun{arguments} b: launchPipelineExecution{arguments} }}"
    assert launched_by(ask(guarded, inline, headers)) == [login, login]

    in_parts = (
        "mutation ($s: JobOrPipelineSelector!, $k: String!, $t: [ExecutionTag!]) { a: launchRun(executionParams: "
        '{selector: $s, executionMetadata: {tags: [{key: $k, value: "forged"}]}}) { ...R } '
        "b: launchRun(executionParams: {selector: $s, executionMetadata: {tags: $t}}) { ...R } "
        "c: launchRun(executionParams: {selector: $s}) { ...R } } fragment R on LaunchRunResult " + RUN
    )
    variables = {"s": forged["selector"], "k": USER_TAG, "t": [FORGED]}
    assert launched_by(ask(guarded, in_parts, headers, variables)) == [login] * 3

    several = (
        "mutation ($p: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $p) { __typename ... on "
        f"LaunchMultipleRunsResult {{ launchMultipleRunsResult {RUN} }} }} }}"
    )
    assert launched_by(ask(guarded, several, headers, {"p": [forged, params()]})) == [login, login]


def test_a_run_that_is_executed_again_has_the_login_of_who_does_so(guarded: int) -> None:
    again = "mutation ($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) " + RUN + " }"
    parent = json.loads(launch(guarded, [("X-Forwarded-User", "ben")]))["data"]["launchRun"]["run"]["runId"]
    reexecution = {"parentRunId": parent, "strategy": "ALL_STEPS", "extraTags": [FORGED, OTHER]}
    answer = ask(guarded, again, ANNA, {"p": reexecution})
    assert launched_by(answer) == ["anna"]
    assert OTHER["value"] in answer
    assert f"({parent}) has the tag {USER_TAG}" in ask(guarded, again, NO_LOGIN, {"p": reexecution})
    without = {**reexecution, "useParentRunTags": False}
    assert launched_by(ask(guarded, again, NO_LOGIN, {"p": without})) == [None]
    by_params = "mutation ($p: ExecutionParams!) { launchRunReexecution(executionParams: $p) " + RUN + " }"
    metadata = {"rootRunId": parent, "parentRunId": parent, "tags": [FORGED]}
    answer = ask(guarded, by_params, ANNA, {"p": {**params(), "executionMetadata": metadata}})
    assert launched_by(answer) == ["anna"]


def test_a_backfill_has_the_login(guarded: int) -> None:
    begin = (
        "mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename ... on "
        "LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"
    )
    repository = {"repositoryLocationName": "definitions.py", "repositoryName": "__repository__"}
    selector = {"partitionSetName": "in_parts_partition_set", "repositorySelector": repository}

    def backfill(headers: list[tuple[str, str]], **more: object) -> tuple[str, list[str | None]]:
        answer = ask(guarded, begin, headers, {"p": {"selector": selector, "partitionNames": ["a"], **more}})
        backfill_id = json.loads(answer)["data"]["launchPartitionBackfill"]["backfillId"]
        query = "query ($b: String!) { partitionBackfillOrError(backfillId: $b) "
        query += "{ ... on PartitionBackfill { tags { key value } } } }"
        return backfill_id, launched_by(ask(guarded, query, variables={"b": backfill_id}))

    assert backfill(NO_LOGIN, tags=[FORGED])[1] == [None]
    backfill_id, logins = backfill(ANNA, tags=[FORGED, OTHER])
    assert logins == ["anna"]
    again = "mutation ($p: ReexecutionParams!) { reexecutePartitionBackfill(reexecutionParams: $p) { __typename } }"
    reexecution = {"parentRunId": backfill_id, "strategy": "ALL_STEPS"}
    for headers in (NO_LOGIN, [("X-Forwarded-User", "ben")]):
        assert f"({backfill_id}) has the tag {USER_TAG}" in ask(guarded, again, headers, {"p": reexecution})


def test_an_ambiguous_login_launches_nothing(guarded: int) -> None:
    for headers, why in ((ANNA * 2, "sent twice"), ([("X-Forwarded-User", "a" * 201)], "no login")):
        answer = json.loads(launch(guarded, headers))
        assert why in answer["errors"][0]["message"]
        assert not answer["data"]
    assert launched_by(launch(guarded, [("X-Forwarded-User", " ")])) == [None]


def test_a_websocket_launches_nothing(guarded: int) -> None:
    async def sent() -> str:
        async with connect(f"ws://127.0.0.1:{guarded}/graphql", subprotocols=["graphql-ws"]) as socket:  # type: ignore[list-item]
            query = f"mutation {{ launchRun(executionParams: {literal(params())}) {RUN} }}"
            await socket.send(json.dumps({"type": "connection_init"}))
            await socket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
            await socket.recv()
            return str(await socket.recv())

    before = ask(guarded, "{ runsOrError { ... on Runs { count } } }")
    assert "error" in asyncio.run(sent())
    assert ask(guarded, "{ runsOrError { ... on Runs { count } } }") == before


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(name, marks=pytest.mark.skipif(program is None, reason=f"needs {name}: apt-get install {name}"))
        for name, program in (("nginx", NGINX), ("caddy", CADDY))
    ],
)
def test_our_proxies_say_who_has_logged_in_whatever_the_client_says(guarded: int, proxy: str, tmp_path: Path) -> None:
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    logged_in = [("Authorization", f"Basic {credentials}")]
    with (servers.nginx if proxy == "nginx" else servers.caddy)(tmp_path, guarded, login=True) as door:
        for forged in ([], ANNA, ANNA * 2, [("x-forwarded-user", "anna"), ("X_Forwarded_User", "anna")]):
            assert launched_by(launch(door, [*logged_in, *forged], FORGED)) == [USER]
        assert "launchRun" not in launch(door, ANNA)


@pytest.mark.long
def test_without_the_variable_no_header_is_trusted_and_the_tag_is_dropped(tmp_path: Path) -> None:
    with servers.webserver(GUARDED, tmp_path, {HEADER_VARIABLE: ""}, DEFINITIONS) as guarded:
        assert launched_by(launch(guarded, ANNA, FORGED)) == [None]


@pytest.mark.parametrize("name", ["X Forwarded User", "X-Forwarded-User:", "Authorization", "cookie", "Übername"])
def test_a_header_that_cant_be_one_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match=f"{HEADER_VARIABLE} isn't the name of a header"):
        LoginHeader.from_environment({HEADER_VARIABLE: name})


def test_a_login_is_text_in_utf_8_or_latin_1() -> None:
    header = LoginHeader.from_environment({HEADER_VARIABLE: " X-User "})
    assert header.login(Headers(raw=[(b"x-user", "märta".encode())])) == "märta"
    assert header.login(Headers(raw=[(b"x-user", "märta".encode("latin-1"))])) == "märta"
    assert LoginHeader.from_environment({}).login(Headers(raw=[(b"", b"anna")])) is None

"""Which requests a guarded webserver answers, alone and as our proxies guard Dagster's own."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from campaign_sync_tests.webserver import servers
from campaign_sync_tests.webserver.servers import CADDY, DAGSTERS_OWN, MUTATION, NGINX, answers, obeyed

pytestmark = pytest.mark.xdist_group("webserver")

BY_GET = f"/graphql?query={quote(MUTATION)}"
QUESTION, BODY = json.dumps({"query": "{ version }"}), json.dumps({"query": MUTATION})
JSON = {"Content-Type": "application/json"}
JSON_IN_UTF8 = {"Content-Type": "application/json; charset=utf-8"}
PAGE = {"Accept": "text/html,application/xhtml+xml"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
REPORT = "/report_asset_check/nord/newsletter_snapshot"
PASSED = f"{REPORT}?passed=true&check_name=drift"

DOORS = ["guarded"] + [
    pytest.param(name, marks=pytest.mark.skipif(program is None, reason=f"needs {name}: apt-get install {name}"))
    for name, program in (("nginx", NGINX), ("caddy", CADDY))
]


@pytest.fixture(scope="module")
def dagsters_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.webserver(DAGSTERS_OWN, tmp_path_factory.mktemp("own")) as port:
        yield port


@pytest.fixture(scope="module", params=DOORS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of what people's browsers reach."""
    if request.param == "guarded":
        yield request.getfixturevalue("guarded")
        return
    opened = servers.nginx if request.param == "nginx" else servers.caddy
    with opened(tmp_path_factory.mktemp("door"), request.getfixturevalue("dagsters_own")) as port:
        yield port


def test_dagsters_own_webserver_obeys_an_image_and_a_form(dagsters_own: int) -> None:
    answers(dagsters_own, BY_GET)
    by_image = obeyed(dagsters_own)
    answers(dagsters_own, BY_GET, {"Origin": "https://evil.example"}, method="POST")

    assert (by_image, obeyed(dagsters_own)) == (True, True), "then nothing of ours is needed any more"


@pytest.mark.sample(20)
@pytest.mark.parametrize(
    ("path", "headers", "method", "body"),
    [
        pytest.param(BY_GET, {}, "GET", None, id="an image"),
        pytest.param(BY_GET, PAGE, "GET", None, id="a page with a query"),
        pytest.param("/%67raphql" + BY_GET.removeprefix("/graphql"), {}, "GET", None, id="a path in disguise"),
        pytest.param(BY_GET, {}, "POST", "", id="a POST with nothing but its URL"),
        pytest.param(BY_GET, {"Content-Type": "application/x-www-form-urlencoded"}, "POST", "a=b", id="a form"),
        pytest.param("/graphql", {"Content-Type": "text/plain"}, "POST", BODY, id="JSON called text"),
        pytest.param("/graphql", {"Content-Type": "text/plain; a=application/json"}, "POST", BODY, id="a hidden type"),
        pytest.param("/graphql", {"Content-Type": "application/graphql"}, "POST", MUTATION, id="bare GraphQL"),
        pytest.param("/graphql", JSON | {"Origin": "https://evil.example"}, "POST", BODY, id="another site"),
        pytest.param("/graphql", JSON | {"Origin": "null"}, "POST", BODY, id="a sandboxed frame"),
        pytest.param("/graphql", JSON | {"Origin": "http://127.0.0.1:9"}, "POST", BODY, id="another port"),
        pytest.param("/graphql", JSON | {"Sec-Fetch-Site": "cross-site"}, "POST", BODY, id="cross-site"),
        pytest.param("/graphql", JSON | {"Sec-Fetch-Site": "same-site"}, "POST", BODY, id="same-site"),
        pytest.param("/graphql", PAGE | LINK, "GET", None, id="a link to GraphiQL"),
        pytest.param(REPORT, {}, "POST", "", id="a report without a type"),
        pytest.param(PASSED, {"Content-Type": "text/plain"}, "POST", "", id="a report"),
        pytest.param(REPORT, JSON | {"Origin": "https://evil.example"}, "POST", "{}", id="another site's report"),
        pytest.param("/runs", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, "GET", None, id="a frame"),
        pytest.param("/logs/x/y.out", {"Sec-Fetch-Site": "same-site"}, "GET", None, id="logs fetched from elsewhere"),
        pytest.param("/graphql", {"Origin": "https://evil.example"}, "OPTIONS", None, id="asking for leave"),
    ],
)
def test_what_another_website_could_cause_is_refused(
    port: int, path: str, headers: dict[str, str], method: str, body: str | None
) -> None:
    assert answers(port, path, headers, method=method, body=body) == 403
    assert not obeyed(port)


@pytest.mark.parametrize(
    ("path", "headers", "method", "body"),
    [
        pytest.param("/graphql", JSON, "POST", QUESTION, id="curl"),
        pytest.param("/graphql", JSON_IN_UTF8, "POST", QUESTION, id="another program"),
        pytest.param("/graphql", PAGE, "GET", None, id="GraphiQL"),
        pytest.param("/graphql", PAGE | {"Sec-Fetch-Site": "none"}, "GET", None, id="GraphiQL, typed"),
        pytest.param("/server_info", {}, "GET", None, id="a health check"),
        pytest.param("/runs?tab=all", PAGE | LINK, "GET", None, id="a link in a webmail"),
    ],
)
def test_everybody_else_is_answered(
    port: int, path: str, headers: dict[str, str], method: str, body: str | None
) -> None:
    assert answers(port, path, headers, method=method, body=body) == 200


def test_the_page_of_the_same_origin_is_answered(port: int) -> None:
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}

    assert answers(port, "/graphql", JSON | own, method="POST", body=BODY) == 200
    assert obeyed(port)


def test_a_name_that_leads_here_by_a_trick_of_dns_isnt_answered(guarded: int) -> None:
    def asked_as(host: str, origin: str) -> int:
        headers = JSON | {"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
        return answers(guarded, "/graphql", headers, method="POST", body=BODY)

    assert asked_as("evil.example", "http://evil.example") == 403
    assert asked_as(f"evil.example:{guarded}", f"http://evil.example:{guarded}") == 403
    assert asked_as("127.0.0.1.evil.example", "http://127.0.0.1.evil.example") == 403
    assert asked_as("[::1", "http://[::1") == 403
    assert not obeyed(guarded)
    for host in ("localhost:3000", "127.0.0.1", "[::1]:3000", "dagster.example.org", "other.example:8443"):
        assert asked_as(host, f"https://{host}") == 200, host
    assert asked_as("127.0.0.1:3000", "https://dagster.example.org") == 200, "a proxy that doesn't pass the host on"

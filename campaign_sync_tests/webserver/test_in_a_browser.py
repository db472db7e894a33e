"""Pages of another website in a real browser, and what they can make the webserver do."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from campaign_sync_tests.webserver import servers
from campaign_sync_tests.webserver.servers import DAGSTERS_OWN, MUTATION, obeyed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.xdist_group("webserver"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium"),
]

PATIENCE = 60_000
"""Milliseconds that a page may take on a busy machine."""

BODY = json.dumps({"query": MUTATION})

IMAGE = """new Promise(done => {
  const image = new Image(); image.onload = image.onerror = () => done("asked");
  image.src = TARGET + "/graphql?query=" + encodeURIComponent(MUTATION);
})"""

FORM = """new Promise(done => {
  document.body.innerHTML = '<iframe name="answer"></iframe><form method="post" target="answer"></form>';
  const form = document.forms[0];
  form.action = TARGET + "/graphql?query=" + encodeURIComponent(MUTATION);
  document.querySelector("iframe").onload = event => { if (form.sent) done("asked"); };
  form.sent = true; form.submit();
})"""

FETCH = """fetch(TARGET + "/graphql", {
  method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain; a=application/json"}, body: BODY
}).then(() => "asked", () => "refused by the browser")"""

FETCH_JSON = """fetch(TARGET + "/graphql", {
  method: "POST", headers: {"Content-Type": "application/json"}, body: BODY
}).then(answer => answer.text(), () => "refused by the browser")"""

BEACON = """new Promise(done => {
  navigator.sendBeacon(TARGET + "/graphql?query=" + encodeURIComponent(MUTATION), "");
  fetch(TARGET + "/server_info", {mode: "no-cors"}).then(() => done("asked"), () => done("asked"));
})"""

WEBSOCKET = """new Promise(done => {
  const socket = new WebSocket(TARGET.replace("http", "ws") + "/graphql", "graphql-ws");
  socket.onopen = () => done("open"); socket.onerror = () => done("closed");
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Another website's port."""
    with _website(tmp_path_factory.mktemp("site")) as port:
        yield port


@contextmanager
def _website(folder: Path) -> Iterator[int]:
    (folder / "index.html").write_text("<!doctype html><title>Kittens</title><body></body>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def attack(page: Page, script: str, port: int) -> object:
    """Run the script of a page that is open, against the webserver at a port."""
    names = {"TARGET": f"http://127.0.0.1:{port}", "MUTATION": MUTATION, "BODY": BODY}
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in names.items())
    return page.evaluate(f"(() => {{ {constants} return {script} }})()")


@pytest.mark.sample(4)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "script", [IMAGE, FORM, FETCH, FETCH_JSON, BEACON], ids=["image", "form", "fetch", "JSON", "beacon"]
)
def test_another_website_changes_nothing(page: Page, guarded: int, site: int, host: str, script: str) -> None:
    page.goto(f"http://{host}:{site}/")

    attack(page, script, guarded)

    assert not obeyed(guarded)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_website_opens_no_websocket(page: Page, guarded: int, site: int, host: str) -> None:
    page.goto(f"http://{host}:{site}/")

    assert attack(page, WEBSOCKET, guarded) == "closed"


def test_another_website_shows_no_page_in_a_frame(page: Page, guarded: int, site: int) -> None:
    page.goto(f"http://localhost:{site}/")
    page.set_content(f'<iframe src="http://127.0.0.1:{guarded}/runs"></iframe>')
    page.wait_for_function("frames.length == 1")
    page.wait_for_load_state("networkidle")

    assert page.frames[1].get_by_text("Runs").count() == 0


def test_a_link_on_another_website_leads_to_the_ui(page: Page, guarded: int, site: int) -> None:
    page.goto(f"http://localhost:{site}/")
    page.set_content(f'<a href="http://127.0.0.1:{guarded}/runs">the run</a>')

    page.get_by_text("the run").click()
    page.wait_for_url("**/runs*")

    page.get_by_text("Runs").first.wait_for()


def test_the_uis_own_pages_ask_and_listen(page: Page, guarded: int) -> None:
    page.goto(f"http://127.0.0.1:{guarded}/graphql")

    assert "setConcurrencyLimit" in str(attack(page, FETCH_JSON, guarded))
    assert obeyed(guarded)
    assert attack(page, WEBSOCKET, guarded) == "open"


@pytest.mark.long
@pytest.mark.parametrize("script", [IMAGE, FORM, FETCH], ids=["image", "form", "fetch"])
def test_dagsters_own_webserver_obeys_all_of_them(page: Page, site: int, script: str, tmp_path: Path) -> None:
    with servers.webserver(DAGSTERS_OWN, tmp_path) as port:
        page.goto(f"http://127.0.0.1:{site}/")

        attack(page, script, port)

        assert obeyed(port), "then nothing of ours is needed any more"
        assert attack(page, WEBSOCKET, port) == "open"

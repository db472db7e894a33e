import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.web_api.answer import Answer, Retry
from campaign_sync.crm.web_api.session import ApiSession

ANNA = "anna@example.org"


class Api:
    """A server whose answers a test lists: each a status and headers, the last one for all further calls."""

    def __init__(self, answers: Sequence[tuple[int, dict[str, str]]] = ((200, {}),)) -> None:
        self.answers = list(answers)
        self.tokens: list[str | None] = []
        self.bodies: list[bytes] = []
        self.waits: list[float] = []
        self.logins = 0
        self.expired: set[str] = set()
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        token = (handler.headers["Authorization"] or "").removeprefix("Bearer ") or None
        with self._lock:
            self.bodies.append(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)))
            self.tokens.append(token)
            status, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = json.dumps({"email": ANNA}).encode()
        handler.send_response(401 if token in self.expired else status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def login(self, _: ApiSession) -> str:
        self.logins += 1
        return f"token-{self.logins}"

    def session(
        self, judge: Callable[[Answer], Retry | CrmError | None] = lambda _: None, path: str = ""
    ) -> ApiSession:
        return ApiSession("The CRM", self.url + path, self.login, judge, wait=self.waits.append)


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            api.answer(self)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        api.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def renew_if_expired(answer: Answer) -> Retry | None:
    return Retry("The CRM's token has expired", renew_token=True) if answer.status == 401 else None


def test_a_call_is_answered() -> None:
    with serving(Api()) as api:
        assert api.session().call("GET", "/people", query={"since": "2026"}).json() == {"email": ANNA}
        assert (api.tokens, api.logins, api.waits) == (["token-1"], 1, [])


def test_an_expired_token_is_renewed_once_for_all_threads() -> None:
    with serving(Api()) as api:
        session = api.session(renew_if_expired)
        session.call("GET", "/people")
        api.expired.add("token-1")
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: session.call("GET", "/people"), range(4)))
        assert [answer.status for answer in answers] == [200] * 4
        assert api.logins == 2


def test_a_new_token_that_is_refused_too_ends_the_call() -> None:
    with serving(Api([(401, {})])) as api, pytest.raises(CrmSetupError, match="refuses a token"):
        api.session(renew_if_expired).call("GET", "/people")
    assert api.logins == 2


def test_a_token_that_ends_again_during_a_pause_is_renewed_again() -> None:
    with serving(Api([(401, {}), (503, {}), (401, {}), (200, {})])) as api:
        assert api.session(renew_if_expired).call("GET", "/people").ok
        assert api.logins == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_api_that_asks_for_a_pause_gets_it_whatever_the_call_changes(method: str) -> None:
    with serving(Api([(429, {"Retry-After": "30"}), (200, {})])) as api:
        assert api.session().call(method, "/people", json={}).ok
    assert api.waits[0] >= 30


def test_a_pause_may_be_given_as_a_time() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with serving(Api([(503, {"Retry-After": at}), (200, {})])) as api:
        api.session().call("GET", "/people")
    assert 60 < api.waits[0] < 120


def test_a_pause_holds_for_all_calls() -> None:
    with serving(Api([(429, {"Retry-After": "300"}), (200, {})])) as api:
        session = api.session()
        session.call("GET", "/people")
        session.call("GET", "/lists")
    assert len([wait for wait in api.waits if wait > 200]) == 3  # the call itself, its repetition, and the other call


def test_an_api_that_never_has_time_ends_the_call() -> None:
    with serving(Api([(429, {"Retry-After": "300"})])) as api, pytest.raises(CrmError, match="3 calls in vain"):
        api.session().call("GET", "/people")


def test_a_server_that_fails_is_asked_again_for_about_a_minute() -> None:
    with serving(Api([(502, {})])) as api, pytest.raises(CrmError, match="status 502; try again later"):
        api.session().call("GET", "/people")
    assert len(api.tokens) == 6
    assert 50 < sum(api.waits) < 90


def test_a_change_whose_effect_is_unknown_is_not_repeated() -> None:
    with serving(Api([(502, {}), (200, {})])) as api, pytest.raises(CrmError, match="502"):
        api.session().call("POST", "/people", json={"email": ANNA})
    assert len(api.bodies) == 1


def test_a_change_that_says_so_is_repeated_as_it_was() -> None:
    with serving(Api([(502, {}), (200, {})])) as api:
        assert api.session().call("POST", "/people", json={"email": ANNA}, repeatable=True).ok
    assert api.bodies == [json.dumps({"email": ANNA}).encode()] * 2


def test_an_answer_that_is_cut_off_is_asked_for_again() -> None:
    with serving(Api([(200, {"Content-Length": "5000", "Connection": "close"}), (200, {})])) as api:
        assert api.session().call("GET", "/people").json() == {"email": ANNA}
    assert len(api.tokens) == 2


def test_a_server_that_is_not_there_is_named_after_three_attempts() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = Api()
    api.url = f"http://127.0.0.1:{port}"
    with pytest.raises(CrmError, match=r"127.0.0.1: it accepts no connection; check crm.url.*3 calls") as caught:
        api.session().call("POST", "/people", json={"email": ANNA})
    assert caught.value.__context__ is None


def test_nothing_follows_to_another_host() -> None:
    with serving(Api([(302, {"Location": "http://127.0.0.1:1/"})])) as api:
        with pytest.raises(CrmSetupError, match="redirects"):
            api.session().call("GET", "/people")
        with pytest.raises(CrmSetupError, match="another host"):
            api.session().call("GET", "https://elsewhere.example/people")
        assert len(api.tokens) == 1


def test_a_link_of_the_api_itself_is_followed() -> None:
    with serving(Api()) as api:
        assert api.session(path="/data").call("GET", f"{api.url}/data/people?page=2").ok


def test_a_file_with_logins_for_the_host_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(Api()) as api:
        api.session().call("GET", "/people")
        api.session().call_without_token("POST", f"{api.url}/token", data={"grant_type": "client_credentials"})
    assert api.tokens == ["token-1", None]


def test_what_the_judge_says_decides() -> None:
    def judge(answer: Answer) -> Retry | CrmError | None:
        return CrmSetupError("crm.client_id may not read contacts") if answer.status == 403 else None

    with serving(Api([(403, {})])) as api, pytest.raises(CrmSetupError, match="may not read contacts"):
        api.session(judge).call("GET", "/people")
    with serving(Api([(404, {})])) as api:
        assert api.session(judge).call("GET", "/people").status == 404


def test_long_pauses_are_logged_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "campaign_sync"), serving(Api([(429, {"Retry-After": "30"}), (200, {})])) as api:
        api.session().call("GET", f"/people/{ANNA}")
    assert "the next attempt follows in 30 s" in caplog.text
    assert ANNA not in caplog.text

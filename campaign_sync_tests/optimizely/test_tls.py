"""Who answers at `https://` has to prove who it is, by a public CA or by the one that `optimizely.ca_file` names."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import trustme
from urllib3 import HTTPSConnectionPool
from urllib3.exceptions import MaxRetryError, SSLError

from campaign_sync.config import OptimizelySettings
from campaign_sync.connection_failure import explain_failure
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.errors import RefusedError, TransientError
from campaign_sync.sandbox.wsdl import PartNames
from campaign_sync_tests.optimizely.conftest import LIST, NORD, PASSWORD, USERNAME, Vendor
from campaign_sync_tests.waiting import PATIENCE

HOST = "127.0.0.1"


@pytest.fixture
def part_names() -> PartNames:
    return "in0"


def ca_file(folder: Path, name: str, authority: trustme.CA) -> Path:
    """The file with the certificate of a private CA."""
    file = folder / f"{name}.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def configured(url: str, ca: Path) -> str | None:
    """What the configuration makes of the file."""
    return OptimizelySettings(base_url=url, ca_file=str(ca)).ca_file


@contextmanager
def behind_tls(vendor: Vendor, certificate: trustme.LeafCert) -> Iterator[tuple[str, list[str]]]:
    """The vendor behind TLS; its address, and the paths that anybody asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.pass_on(requests.get(f"{vendor.url}{self.path}", timeout=PATIENCE))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.pass_on(requests.post(f"{vendor.url}{self.path}", body, timeout=PATIENCE))

        def pass_on(self, given: requests.Response) -> None:
            asked.append(self.path)
            self.send_response(given.status_code)
            self.send_header("Content-Length", str(len(given.content)))
            self.end_headers()
            self.wfile.write(given.content)

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: object, client_address: object) -> None:
            try:
                secure = context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
            except OSError:  # a client that doesn't trust us hangs up
                return
            super().finish_request(secure, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_an_untrusted_certificate_ends_the_call_before_anything_is_sent(vendor: Vendor, tmp_path: Path) -> None:
    with (
        behind_tls(vendor, trustme.CA().issue_cert(HOST)) as (url, asked),
        pytest.raises(TransientError, match="its certificate can't be verified") as caught,
        connect(url, NORD, USERNAME, PASSWORD),
    ):
        pass
    assert "name the CA's PEM file in optimizely.ca_file" in str(caught.value)
    assert not caught.value.outcome_unknown
    assert asked == []


def test_the_private_ca_is_trusted_when_configured(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    ca, elsewhere = ca_file(tmp_path, "ca", authority), ca_file(tmp_path, "elsewhere", trustme.CA())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(elsewhere))  # what is configured goes before it
    with (
        behind_tls(vendor, authority.issue_cert(HOST)) as (url, _),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=configured(url, ca)) as optimizely,
    ):
        assert optimizely.recipients.count(LIST) == 0


@pytest.mark.parametrize(("is_trusted", "host"), [(False, HOST), (True, "127.0.0.2")])
def test_another_ca_or_another_host_is_refused(vendor: Vendor, tmp_path: Path, is_trusted: bool, host: str) -> None:
    authority = trustme.CA()
    ca = ca_file(tmp_path, "ca", authority if is_trusted else trustme.CA())
    with (
        behind_tls(vendor, authority.issue_cert(host)) as (url, asked),
        pytest.raises(TransientError, match=r"can't be verified.*optimizely\.ca_file"),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=str(ca)),
    ):
        pass
    assert asked == []


def test_a_certificate_that_newer_versions_of_python_refuse_has_to_be_issued_anew() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "Missing Authority Key Identifier"
    error = requests.exceptions.SSLError(MaxRetryError(HTTPSConnectionPool(HOST), "/", SSLError(refused)))

    failure = explain_failure(error, url_setting="crm.url", ca_setting="crm.ca_file", seconds=1)

    assert failure.problem.endswith("have its CA issue it anew as RFC 5280 demands, and Python since version 3.13")
    assert failure.unsent


def test_a_ca_file_removed_since_the_start_is_an_error(vendor: Vendor, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    with (
        behind_tls(vendor, trustme.CA().issue_cert(HOST)) as (url, _),
        pytest.raises(RefusedError, match=r"gone\.pem \(optimizely\.ca_file\) can't be read any more"),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=str(gone)),
    ):
        pass

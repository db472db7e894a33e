"""Who answers at `https://` has to prove who it is, by a public CA or by the one that `optimizely.ca_file` names."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from campaign_sync.config import OptimizelySettings
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.errors import RefusedError, TransientError
from campaign_sync.sandbox.wsdl import PartNames
from campaign_sync_tests.optimizely.conftest import LIST, NORD, PASSWORD, USERNAME, Vendor
from campaign_sync_tests.waiting import PATIENCE


@pytest.fixture
def part_names() -> PartNames:
    return "in0"


def certificate(folder: Path, name: str, signed_by: str | None = None, host: str = "127.0.0.1") -> Path:
    """A key and a certificate as PEM, the file of the latter; without `signed_by` it is a CA that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, signer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signed_by or name)]), key
    if signed_by:
        loaded = serialization.load_pem_private_key((folder / f"{signed_by}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    file = folder / f"{name}.pem"
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return file


def configured(url: str, ca: Path) -> str | None:
    """What the configuration makes of the file."""
    return OptimizelySettings(base_url=url, ca_file=str(ca)).ca_file


@contextmanager
def behind_tls(vendor: Vendor, certificate_file: Path) -> Iterator[tuple[str, list[str]]]:
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
    context.load_cert_chain(certificate_file, certificate_file.with_suffix(".key"))

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
        behind_tls(vendor, certificate(tmp_path, "own")) as (url, asked),
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
    ca = certificate(tmp_path, "ca")
    elsewhere = certificate(tmp_path, "elsewhere")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(elsewhere))  # what is configured goes before it
    with (
        behind_tls(vendor, certificate(tmp_path, "server", signed_by="ca")) as (url, _),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=configured(url, ca)) as optimizely,
    ):
        assert optimizely.recipients.count(LIST) == 0


@pytest.mark.parametrize(("signed_by", "host"), [("other", "127.0.0.1"), ("ca", "127.0.0.2")])
def test_another_ca_or_another_host_is_refused(vendor: Vendor, tmp_path: Path, signed_by: str, host: str) -> None:
    ca, _ = certificate(tmp_path, "ca"), certificate(tmp_path, "other")
    with (
        behind_tls(vendor, certificate(tmp_path, "server", signed_by, host)) as (url, asked),
        pytest.raises(TransientError, match=r"can't be verified.*optimizely\.ca_file"),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=str(ca)),
    ):
        pass
    assert asked == []


def test_a_ca_file_removed_since_the_start_is_an_error(vendor: Vendor, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    with (
        behind_tls(vendor, certificate(tmp_path, "own")) as (url, _),
        pytest.raises(RefusedError, match=r"gone\.pem \(optimizely\.ca_file\) can't be read any more"),
        connect(url, NORD, USERNAME, PASSWORD, ca_file=str(gone)),
    ):
        pass

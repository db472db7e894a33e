# mypy: disable-error-code="no-untyped-call"
# zeep has types in some places only.
import gzip
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from zeep.transports import Transport

from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.wsdl import ENCODING, SERVICES, XSD, PartNames
from campaign_sync_tests.sandbox.client import Client, FaultError, envelope, read
from campaign_sync_tests.sandbox.conftest import NEWSLETTER, NORD
from campaign_sync_tests.waiting import PATIENCE

SOAP_ENCODING_SCHEMA = f"""
<xs:schema xmlns:xs="{XSD}" xmlns:tns="{ENCODING}" targetNamespace="{ENCODING}">
 <xs:attribute name="arrayType" type="xs:string"/>
 <xs:attributeGroup name="arrayAttributes"><xs:attribute ref="tns:arrayType"/></xs:attributeGroup>
 <xs:complexType name="Array">
  <xs:sequence><xs:any namespace="##any" minOccurs="0" maxOccurs="unbounded" processContents="lax"/></xs:sequence>
  <xs:attributeGroup ref="tns:arrayAttributes"/><xs:anyAttribute processContents="lax"/>
 </xs:complexType>
 <xs:complexType name="string">
  <xs:simpleContent>
   <xs:extension base="xs:string"><xs:anyAttribute processContents="lax"/></xs:extension>
  </xs:simpleContent>
 </xs:complexType>
</xs:schema>"""


class OfflineTransport(Transport):
    """zeep's transport, with a local copy of the one schema that it would fetch from a third party."""

    def load(self, url: str) -> bytes:
        if url == ENCODING:
            return SOAP_ENCODING_SCHEMA.encode()
        assert url.startswith("http://127.0.0.1:")
        return bytes(super().load(url))


@pytest.mark.parametrize("part_names", ["in0", "named"])
def test_zeep_reads_every_wsdl_and_names_parameters_as_it_says(state: VendorState, part_names: PartNames) -> None:
    with serve(state, part_names=part_names) as url:
        for service, operations in SERVICES.items():
            client = zeep.Client(f"{url}/Rpc{service}?wsdl", transport=OfflineTransport())
            proxy = client.create_service(
                f"{{urn:api.broadmail.de/soap11/Rpc{service}}}Rpc{service}SoapBinding", f"{url}/Rpc{service}"
            )
            binding = client.wsdl.bindings[f"{{urn:api.broadmail.de/soap11/Rpc{service}}}Rpc{service}SoapBinding"]
            published = {
                name: [part for part, _ in operation.input.body.type.elements]
                for name, operation in binding.all().items()
            }
            assert published == {
                name: [p.name if part_names == "named" else f"in{i}" for i, p in enumerate(operation.parameters)]
                for name, operation in operations.items()
            }
            assert proxy.getVersion()["_value_1"] == "1.18"


@pytest.mark.parametrize("part_names", ["in0", "named"])
def test_zeep_calls_what_needs_no_nested_arrays(state: VendorState, part_names: PartNames) -> None:
    with serve(state, part_names=part_names) as url:
        session_id = Client(url).login(NORD, "nord-api", "s3cret").session_id

        def service(name: str) -> Any:
            client = zeep.Client(f"{url}/Rpc{name}?wsdl", transport=OfflineTransport())
            binding = f"{{urn:api.broadmail.de/soap11/Rpc{name}}}Rpc{name}SoapBinding"
            return client.create_service(binding, f"{url}/Rpc{name}")

        state.put(NEWSLETTER, [{"id": "a@example.org"}])
        recipients = service("Recipient")
        assert recipients.getCount(session_id, NEWSLETTER, 0) == 1
        assert recipients.contains(session_id, NEWSLETTER, "a@example.org") is True
        assert recipients.clear(session_id, NEWSLETTER) is None
        with pytest.raises(zeep.exceptions.Fault, match="Recipient list does not exist") as fault:
            recipients.clear(session_id, 1)
        assert fault.value.code == "soapenv:Server.userException"
        assert NEWSLETTER in service("RecipientList").getAllIds(session_id)


def test_unknown_services_are_not_found(anonymous: Client) -> None:
    assert requests.get(f"{anonymous.url}/RpcNope?wsdl", timeout=PATIENCE).status_code == 404
    assert requests.get(f"{anonymous.url}/RpcSession?WSDL", timeout=PATIENCE).status_code == 200
    with pytest.raises(FaultError, match="could not find a target service"):
        anonymous.send("Nope", "<x/>")


def test_simultaneous_calls_are_all_answered(state: VendorState, nord: Client) -> None:
    batches = [[f"{batch}-{i}@example.org" for i in range(200)] for batch in range(16)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda ids: nord.add_all(NEWSLETTER, ids), batches))
    assert answers == [[0] * 200] * 16
    assert len(state.recipients(NEWSLETTER)) == 3200


def test_answers_are_gzipped_for_clients_that_accept_it(state: VendorState) -> None:
    call = envelope("Session", "getVersion", "").encode()
    with serve(state, gzips_answers=True) as url:
        packed = requests.post(f"{url}/RpcSession", data=call, headers={"Accept-Encoding": "gzip"}, timeout=PATIENCE)
        plain = requests.post(f"{url}/RpcSession", data=call, headers={"Accept-Encoding": "identity"}, timeout=PATIENCE)

    assert (packed.status_code, packed.headers["Content-Encoding"], read(packed.content)) == (200, "gzip", "1.18")
    assert (plain.status_code, plain.headers.get("Content-Encoding"), plain.content) == (200, None, packed.content)


def test_gzipped_requests_are_refused(anonymous: Client) -> None:
    url, call = f"{anonymous.url}/RpcSession", envelope("Session", "getVersion", "").encode()
    packed = requests.post(url, data=gzip.compress(call), headers={"Content-Encoding": "gzip"}, timeout=PATIENCE)
    plain = requests.post(url, data=call, headers={"Accept-Encoding": "gzip"}, timeout=PATIENCE)

    assert packed.status_code == 415
    assert plain.headers.keys() == {"Content-Type", "Content-Length"}
    assert read(plain.content) == "1.18"


def test_a_truncated_answer_is_truncated_when_gzipped(state: VendorState) -> None:
    state.fault("getVersion", "truncate")
    call = envelope("Session", "getVersion", "").encode()
    with serve(state, gzips_answers=True) as url, pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.post(f"{url}/RpcSession", data=call, timeout=PATIENCE)


def test_a_server_ends_despite_an_open_connection(state: VendorState) -> None:
    with requests.Session() as client:
        with serve(state) as url:
            client.get(f"{url}/RpcSession?wsdl", timeout=PATIENCE)
        with pytest.raises(requests.ConnectionError):
            client.get(f"{url}/RpcSession?wsdl", timeout=PATIENCE)


@contextmanager
def running(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the sandbox as a process; yield it and its base URL."""
    command = [sys.executable, "-m", "campaign_sync.sandbox", "--port", "0", "--data", str(data), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_the_sandbox_as_a_process_serves_what_another_process_puts_in(state: VendorState) -> None:
    with running(state.path) as (process, url):
        nord = Client(url).login(NORD, "nord-api", "s3cret")
        state.put(NEWSLETTER, [{"id": "a@example.org"}])
        assert nord.add_all(NEWSLETTER, ["a@example.org", "b@example.org"]) == [5, 0]
        assert len(state.recipients(NEWSLETTER)) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0


def test_the_state_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    with running(path):
        state = VendorState(path)
        state.add_mandator(NORD, "nord-api", "s3cret")
        state.add_list(NORD, NEWSLETTER, "Newsletter", ["Ort"])
        state.unsubscribe(NORD, "left@example.org")
        state.close()
    with running(path, "--part-names", "named") as (_, url):
        nord = Client(url).login(NORD, "nord-api", "s3cret")
        assert nord.add_all(NEWSLETTER, ["left@example.org"]) == [2]
        assert b'name="recipientListId"' in requests.get(f"{url}/RpcRecipient?wsdl", timeout=PATIENCE).content


def test_a_taken_port_is_one_clear_sentence(anonymous: Client, tmp_path: Path) -> None:
    port = anonymous.url.split(":")[2].split("/")[0]
    command = [sys.executable, "-m", "campaign_sync.sandbox", "--port", port, "--data", str(tmp_path / "w.db")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"The sandbox can't listen on 127.0.0.1:{port}: Address already in use. Choose another --port.\n"
    )


def test_a_file_that_is_no_database_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_text("not a database, but long enough to be taken for one\n" * 100)
    command = [sys.executable, "-m", "campaign_sync.sandbox", "--data", str(tmp_path / "w.db")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "can't keep its state in" in result.stderr

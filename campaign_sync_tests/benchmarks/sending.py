"""The bound of filling a list: encoded bytes, posted over as many connections."""

import http.client
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from campaign_sync.config import load_configuration
from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.client import connect
from campaign_sync.optimizely.service_definition import ServiceDefinition
from campaign_sync.optimizely.transport import Transport
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.replacement.list_writer import prepare
from campaign_sync.replacement.plan import refill
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State
from campaign_sync_tests.installation import ENVIRONMENT, NORD

_HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}


def post_all(base_url: str, requests: Sequence[bytes], connections: int) -> None:
    """Post requests to the service `Recipient`, and wait for the answers without decoding them."""
    url = urlsplit(base_url)

    def post(part: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection(url.netloc)
        for request in part:
            connection.request("POST", f"{url.path}/RpcRecipient", request, _HEADERS)
            response = connection.getresponse()
            response.read()
            assert response.status == http.client.OK
        connection.close()

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(post, [requests[number::connections] for number in range(connections)]))


def fill_again(folder: str) -> Callable[[], Any]:
    """Return the work that clears the list of an installation and sends its newest snapshot again."""
    configuration = load_configuration(Path(folder) / "campaign_sync.yaml", ENVIRONMENT)
    listed, base_url = list_settings(configuration, "nord", "newsletter"), configuration.optimizely.base_url
    with State(configuration.storage.state_url.get_secret_value()) as state:
        stored = state.snapshots.latest("nord", "newsletter")
    assert stored
    rows = FileStorage(configuration.storage.frames).read_frame(stored.file, stored.digest)
    user, password = ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"]
    contract = ServiceDefinition("Recipient", base_url, Transport(base_url, parallel_calls=1, timeout_seconds=60).get)

    def work() -> None:
        post_all(base_url, requests[:1], 1)  # clear
        post_all(base_url, requests[1:], listed.optimizely.parallel_calls)

    with connect(base_url, NORD, user, password) as vendor:
        batches = prepare(listed, vendor, rows, refill(rows).send)
        session = Transport(base_url, parallel_calls=1, timeout_seconds=60)
        sessions = ServiceDefinition("Session", base_url, session.get)
        login = sessions.operation("login")
        answer = session.post("Session", sessions.request(login, (NORD, user, password)))
        session_id = str(sessions.result(login, soap_encoding.parse(answer.content)))
        clear = contract.request(contract.operation("clear"), (session_id, listed.recipient_list_id))
        add_all = contract.operation("addAll3")
        requests = [
            clear,
            *(contract.request_with_tail(add_all, session_id, prepared.batch.xml) for prepared in batches),
        ]
    return work

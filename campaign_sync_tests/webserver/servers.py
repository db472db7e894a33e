"""Webservers without definitions, and proxies as we ship them, each in a process of its own on 127.0.0.1."""

import getpass
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from campaign_sync_tests.stack import free_port
from campaign_sync_tests.waiting import until

ROOT = Path(__file__).parents[2]
GUARDED, DAGSTERS_OWN = "campaign_sync.webserver", "dagster_webserver"
NGINX, CADDY = shutil.which("nginx"), shutil.which("caddy")

MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "stolen", limit: 0) }'
"""Something that changes the instance; a website would rather launch a run."""


USER, PASSWORD = "märta", "open sesame"
"""The login to the proxies that have one."""

QUEUE_ONLY = "run_coordinator: {module: dagster._core.run_coordinator, class: QueuedRunCoordinator}\n"
"""Nothing takes runs from the queue, as there is no daemon."""


@contextmanager
def webserver(
    module: str, folder: Path, environment: Mapping[str, str] | None = None, definitions: str | None = None
) -> Iterator[int]:
    """Dagster's webserver, guarded or not, over an instance in `folder`; yields its port.

    `definitions` is the text of a module with jobs that can be launched; nothing runs them.
    """
    port = free_port()
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n" + (QUEUE_ONLY if definitions else ""))
    workspace = ["--empty-workspace"]
    if definitions is not None:
        (folder / "definitions.py").write_text(definitions)
        workspace = ["--python-file", str(folder / "definitions.py")]
    command = [sys.executable, "-m", module, *workspace, "--host", "127.0.0.1", "--port", str(port)]
    check_context = {**os.environ, "DAGSTER_HOME": str(home), **(environment or {})}
    with subprocess.Popen(command, env=check_context, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port, "/server_info") == 200, lambda: process.poll() is None)
            yield port
        finally:
            process.terminate()


@contextmanager
def nginx(folder: Path, behind: int, *, login: bool = False) -> Iterator[int]:
    """The configuration that we ship, without certificate, which there is none of here, and perhaps with its login."""
    port = free_port()
    users = folder / "htpasswd"
    users.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    shipped = (ROOT / "deploy/nginx/campaign_sync.conf").read_text()
    left_out = "ssl_|server_name" if login else "ssl_|auth_|server_name"
    site = re.sub(rf"^\s*({left_out}).*$", "", shipped, flags=re.MULTILINE)
    site = site.replace("/etc/nginx/campaign_sync.htpasswd", str(users))
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace("127.0.0.1:3000", f"127.0.0.1:{behind}")
    paths = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; user {getpass.getuser()}; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\n{paths}\n{site} }}"
    )
    with _proxy([str(NGINX), "-c", str(main), "-p", str(folder)], port, {}):
        yield port


@contextmanager
def caddy(folder: Path, behind: int, *, login: bool = False) -> Iterator[int]:
    """The configuration that we ship, perhaps with its login."""
    port = free_port()
    shipped = (ROOT / "deploy/compose/Caddyfile").read_text()
    environment = {"PROXY_ADDRESS": f"http://:{port}", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    if login:
        hashed = subprocess.run(
            [str(CADDY), "hash-password", "--plaintext", PASSWORD], check=True, capture_output=True, text=True
        )
        environment |= {"PROXY_USER": USER, "PROXY_PASSWORD_HASH": hashed.stdout.strip()}
        site = shipped.replace("basic_auth {", "basicauth {")  # as it is called before 2.8, and still afterwards
    else:
        site = re.sub(r"\tbasic_auth \{\n.*\n\t\}\n", "", shipped)
    main = folder / "Caddyfile"
    main.write_text("{\n\tadmin off\n}\n" + site.replace("webserver:3000", f"127.0.0.1:{behind}"))
    with _proxy([str(CADDY), "run", "--config", str(main), "--adapter", "caddyfile"], port, environment):
        yield port


@contextmanager
def _proxy(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port, "/server_info") in (200, 401), lambda: process.poll() is None)
            yield
        finally:
            process.terminate()


def answers(
    port: int, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: str | None = None
) -> int:
    """The status of the answer; 0 where there is no server."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", None if body is None else body.encode(), dict(headers or {}), method=method
    )
    if body is not None and "Content-Type" not in (headers or {}):
        request.add_unredirected_header("Content-Type", "")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def obeyed(port: int) -> bool:
    """Whether the mutation was executed by the server at this port; forgotten afterwards."""
    query = "{ instance { concurrencyLimits { concurrencyKey } } }"
    obeyed = "stolen" in ask(port, query)
    ask(port, 'mutation { deleteConcurrencyLimit(concurrencyKey: "stolen") }')
    return obeyed


def ask(
    port: int, query: str, headers: Sequence[tuple[str, str]] = (), variables: Mapping[str, object] | None = None
) -> str:
    """The answer of GraphQL, as text, whatever its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"query": query, "variables": variables}).encode()
    connection.putrequest("POST", "/graphql")
    for name, value in [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]:
        connection.putheader(name, value.encode())
    connection.endheaders(body)
    text = connection.getresponse().read().decode()
    connection.close()
    return text

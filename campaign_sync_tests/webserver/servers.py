"""Webservers without definitions, and proxies as we ship them, each in a process of its own on 127.0.0.1."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from campaign_sync_tests.stack import free_port
from campaign_sync_tests.waiting import until

ROOT = Path(__file__).parents[2]
GUARDED, DAGSTERS_OWN = "campaign_sync.webserver", "dagster_webserver"
NGINX, CADDY = shutil.which("nginx"), shutil.which("caddy")

MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "stolen", limit: 0) }'
"""Something that changes the instance; a website would rather launch a run."""


@contextmanager
def webserver(module: str, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Dagster's webserver, guarded or not, over an instance in `folder`; yields its port."""
    port = free_port()
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", module, "--empty-workspace", "--host", "127.0.0.1", "--port", str(port)]
    check_context = {**os.environ, "DAGSTER_HOME": str(home), **(environment or {})}
    with subprocess.Popen(command, env=check_context, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port, "/server_info") == 200, lambda: process.poll() is None)
            yield port
        finally:
            process.terminate()


@contextmanager
def nginx(folder: Path, behind: int) -> Iterator[int]:
    """The configuration that we ship, without certificate and login, which there are none of here."""
    port = free_port()
    shipped = (ROOT / "deploy/nginx/campaign_sync.conf").read_text()
    site = re.sub(r"^\s*(ssl_|auth_|server_name).*$", "", shipped, flags=re.MULTILINE)
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace("127.0.0.1:3000", f"127.0.0.1:{behind}")
    paths = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{paths}\n{site} }}"
    )
    with _proxy([str(NGINX), "-c", str(main), "-p", str(folder)], port, {}):
        yield port


@contextmanager
def caddy(folder: Path, behind: int) -> Iterator[int]:
    """The configuration that we ship, without the login."""
    port = free_port()
    shipped = (ROOT / "deploy/compose/Caddyfile").read_text()
    site = re.sub(r"\tbasic_auth \{\n.*\n\t\}\n", "", shipped)
    main = folder / "Caddyfile"
    main.write_text("{\n\tadmin off\n}\n" + site.replace("webserver:3000", f"127.0.0.1:{behind}"))
    environment = {"PROXY_ADDRESS": f"http://:{port}", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with _proxy([str(CADDY), "run", "--config", str(main), "--adapter", "caddyfile"], port, environment):
        yield port


@contextmanager
def _proxy(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port, "/server_info") == 200, lambda: process.poll() is None)
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
    obeyed = "stolen" in _ask(port, query)
    _ask(port, 'mutation { deleteConcurrencyLimit(concurrencyKey: "stolen") }')
    return obeyed


def _ask(port: int, query: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
    return text

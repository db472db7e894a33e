"""The command `dagster-webserver` with all its options, guarded by `SameOriginOnly`."""

import os
from typing import Any

import uvicorn
from dagster_webserver.cli import main as dagster_webserver

from campaign_sync.webserver.same_origin import SameOriginOnly, allowed_hosts


def main() -> None:
    """Run `dagster-webserver` behind the check of requests."""
    serve = uvicorn.run

    def serve_guarded(app: Any, *, host: str = "127.0.0.1", **settings: Any) -> None:
        serve(SameOriginOnly(app, allowed_hosts(host, os.environ)), host=host, **settings)

    # Dagster has no setting for middleware, so everything that it passes to uvicorn is guarded.
    uvicorn.run = serve_guarded
    dagster_webserver()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

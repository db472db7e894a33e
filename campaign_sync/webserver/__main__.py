"""The command `dagster-webserver` with all its options, guarded by `SameOriginOnly`, with logins as tags of runs."""

import os
import sys
from typing import Any

import uvicorn
from dagster_webserver import app as dagsters_app
from dagster_webserver.cli import main as dagster_webserver

from campaign_sync.webserver.login import LoginHeader, LoginTaggingWebserver, tags_logins
from campaign_sync.webserver.same_origin import SameOriginOnly, allowed_hosts


def main() -> None:
    """Run `dagster-webserver` behind the check of requests."""
    try:
        LoginTaggingWebserver.header = LoginHeader.from_environment(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    serve = uvicorn.run

    def serve_guarded(app: Any, *, host: str = "127.0.0.1", **settings: Any) -> None:
        if not tags_logins(app):
            sys.exit(
                "This version of Dagster makes its webserver in another way; install one that campaign_sync names."
            )
        serve(SameOriginOnly(app, allowed_hosts(host, os.environ)), host=host, **settings)

    # Dagster has no setting for middleware or its GraphQL, so what it makes and passes to uvicorn is replaced.
    dagsters_app.DagsterWebserver = LoginTaggingWebserver  # type: ignore[attr-defined]
    uvicorn.run = serve_guarded
    dagster_webserver()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

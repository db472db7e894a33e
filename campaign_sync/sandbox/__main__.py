"""The sandbox as a process: `python -m campaign_sync.sandbox --port 8123 --data sandbox.db`."""

import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.wsdl import PartNames


def main(
    data: Annotated[Path, typer.Option(help="SQLite file with the vendor's state; created if missing.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    part_names: Annotated[PartNames, typer.Option(help="How WSDLs name parameters.")] = "in0",
) -> None:
    """Serve until SIGTERM or Ctrl-C. Prints the base URL when ready."""
    os.umask(0o077)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        state = VendorState(data)
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(f"The sandbox can't keep its state in {data}: {error}. Choose another --data.\n")
        raise typer.Exit(1) from None
    try:
        with serve(state, host, port, part_names) as url:
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            end.wait()
    except OSError as error:
        sys.stderr.write(f"The sandbox can't listen on {host}:{port}: {error.strerror}. Choose another --port.\n")
        raise typer.Exit(1) from None
    finally:
        state.close()


if __name__ == "__main__":
    typer.run(main)

"""Identities of processes, and whether such a process still exists."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

_UNKNOWN = "?"

UNKNOWN_OWNER = f"{_UNKNOWN} 0 {_UNKNOWN} {_UNKNOWN}"
"""An owner about which nothing is known."""

STALLED_AFTER = timedelta(minutes=15)
"""How long after its expiry an existing process still counts as alive: its machine may be busy."""


def database_now(connection: Connection) -> datetime:
    """Return the database server's time, since the clocks of machines differ; our own with SQLite."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def this_process() -> str:
    """Return host, process id, and as far as known what distinguishes this process from others with that id."""
    return f"{socket.gethostname()} {os.getpid()} {_system_id()} {_birth(os.getpid())}"


def is_expired(owner: str, expires_at: datetime, now: datetime) -> bool:
    """Return whether what an owner held until `expires_at`, unless renewed, is no longer held.

    A process of the system we run in holds it until it is gone, or is `STALLED_AFTER` past the expiry. Of others only
    the expiry is known.
    """
    if not _is_visible(owner):
        return expires_at <= now
    return is_gone(owner) or expires_at + STALLED_AFTER <= now


def is_gone(owner: str) -> bool:
    """Return whether an owner is known to exist no more. Of those of other systems that is never known."""
    if not _is_visible(owner):
        return False
    _, pid, _, birth = owner.rsplit(" ", 3)
    current = _birth(int(pid))
    return _has_no_process(int(pid)) if current == _UNKNOWN else current != birth


def is_local(owner: str) -> bool:
    """Return whether an owner is a process of the system we run in that isn't known to be gone."""
    return _is_visible(owner) and not is_gone(owner)


def _is_visible(owner: str) -> bool:
    """Return whether an owner is, or was, a process of the system we run in."""
    system = owner.rsplit(" ", 2)[1]
    return system not in (_UNKNOWN, "") and system == _system_id()


def _system_id() -> str:
    """Return the boot id and process namespace within which a process id means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}".replace(" ", "")
    except OSError:
        return _UNKNOWN


def _birth(pid: int) -> str:
    """Return when a process began, in ticks since the boot; a dash for a zombie, `?` where it can't be seen."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _UNKNOWN
    return "-" if state in "ZX" else fields[18]


def _has_no_process(pid: int) -> bool:
    """Return whether there is no such process. One of another user that is hidden from us exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

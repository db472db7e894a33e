"""Which process somebody is, and whether it is still there."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

_UNKNOWN = "?"

UNKNOWN_OWNER = f"{_UNKNOWN} 0 {_UNKNOWN} {_UNKNOWN}"
"""An owner of whom nothing is known."""

STALLED_AFTER = timedelta(minutes=15)
"""How long after its time has run out a process that is known to exist counts as alive: the machine may be busy."""


def database_now(connection: Connection) -> datetime:
    """The database's clock where it has one of its own, for machines disagree."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def this_process() -> str:
    """Host, process id, and what tells this process from all others that ever had that id, as far as that is known."""
    return f"{socket.gethostname()} {os.getpid()} {_world()} {_birth(os.getpid())}"


def is_expired(owner: str, expires_at: datetime, now: datetime) -> bool:
    """Whether what an owner held until `expires_at`, unless pushed ahead, is held no longer.

    A process of the very system we run in holds it until it is gone, or has stood still for long. Of others, nothing is
    known but that they pushed the expiry ahead.
    """
    _, pid, world, birth = owner.rsplit(" ", 3)
    if world in (_UNKNOWN, "") or world != _world():
        return expires_at <= now
    found = _birth(int(pid))
    gone = _is_gone(int(pid)) if found == _UNKNOWN else found != birth
    return gone or expires_at + STALLED_AFTER <= now


def _world() -> str:
    """The boot and the process namespace within which a process id means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}".replace(" ", "")
    except OSError:
        return _UNKNOWN


def _birth(pid: int) -> str:
    """When a process began, in ticks since the boot; a dash for a zombie, unknown where nothing can be seen of it."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _UNKNOWN
    return "-" if state in "ZX" else fields[18]


def _is_gone(pid: int) -> bool:
    """Whether there is no such process; one that belongs to somebody else and is hidden from us is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

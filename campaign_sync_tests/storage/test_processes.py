"""Whether a process still exists: on Linux, and where less can be seen, as on macOS, on Windows or under `hidepid`."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaign_sync.storage.processes import STALLED_AFTER, is_expired, is_gone, this_process

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
SOON, JUST_NOW = NOW + timedelta(seconds=1), NOW


def hide(monkeypatch: pytest.MonkeyPatch, *folders: str) -> None:
    """Let files below these folders be ones that don't exist."""
    read_text, readlink = Path.read_text, Path.readlink

    def hidden(path: Path) -> bool:
        return any(str(path).startswith(folder) for folder in folders)

    def read(path: Path, *arguments: Any, **named: Any) -> str:
        if hidden(path):
            raise FileNotFoundError(path)
        return read_text(path, *arguments, **named)

    def link(path: Path) -> Path:
        if hidden(path):
            raise FileNotFoundError(path)
        return readlink(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(Path, "readlink", link)


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def owner(pid: int) -> str:
    """Return the owner that this process would be with another id, as after that process has ended."""
    host, _, system, birth = this_process().rsplit(" ", 3)
    return f"{host} {pid} {system} {birth}"


@pytest.mark.skipif(sys.platform != "linux", reason="without /proc nothing of it can be seen")
def test_on_linux_an_ended_process_is_gone_at_once_and_a_living_one_is_given_time() -> None:
    assert not is_gone(this_process())
    assert is_gone(owner(ended_process()))
    assert is_expired(owner(ended_process()), SOON, NOW)
    assert not is_expired(this_process(), JUST_NOW, NOW)
    assert is_expired(this_process(), NOW - STALLED_AFTER, NOW)


def test_without_proc_only_the_expiry_counts_and_no_signal_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, signal 0 would be Ctrl-C."""
    hide(monkeypatch, "/proc")
    monkeypatch.setattr(os, "kill", lambda pid, signal: pytest.fail("a signal was sent"))
    ended = owner(ended_process())

    assert this_process().endswith(f" {os.getpid()} ? ?")
    assert not is_gone(ended)
    assert not is_expired(ended, SOON, NOW)
    assert is_expired(ended, JUST_NOW, NOW)
    assert not is_expired(this_process(), SOON, NOW)
    assert is_expired(this_process(), JUST_NOW, NOW)


@pytest.mark.skipif(sys.platform != "linux", reason="hidepid is an option of Linux")
def test_a_process_that_is_hidden_is_gone_only_if_no_process_has_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, living = owner(ended_process()), this_process()
    hide(monkeypatch, f"/proc/{os.getpid()}", f"/proc/{ended.split()[1]}")

    assert is_gone(ended)
    assert not is_gone(living)

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError(pid)

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_gone(living)


@pytest.mark.parametrize("host", ["büro-1", "MacBook Pro", ""])
def test_an_owner_of_another_system_is_never_known_to_be_gone(host: str) -> None:
    other = f"{host} {ended_process()} 0f-1e/pid:[4026531836] 4711"

    assert not is_gone(other)
    assert not is_expired(other, SOON, NOW)
    assert is_expired(other, JUST_NOW, NOW)

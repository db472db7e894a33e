"""Values that don't stand in the configuration file: `{env: NAME}` and `{file: PATH}`."""

from collections.abc import Mapping
from pathlib import Path

from campaign_sync.errors import CampaignSyncError

MAX_BYTES = 64 * 1024
"""The largest file a single value is read from. What is larger was never meant."""


class ExternalValue(str):
    """A value that came out of an environment variable or a file of its own: copies of this file don't spread it."""

    __slots__ = ()


class UnavailableError(CampaignSyncError):
    """There is no such value. The message never holds one."""


def from_environment(name: str, environ: Mapping[str, str]) -> ExternalValue:
    """The value of an environment variable.

    Raises:
        UnavailableError: it is unset or empty.
    """
    if value := environ.get(name):
        return ExternalValue(value)
    raise UnavailableError(f"the environment variable {name} is {'empty' if name in environ else 'not set'}")


def from_file(name: str) -> ExternalValue:
    """What a file holds, without the line break at its end, which editors add.

    Raises:
        UnavailableError: the file can't be read as a text of at most `MAX_BYTES`, or is empty.
    """
    value = ""
    try:
        content = _content(Path(name).expanduser())
        value = content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        problem = "isn't there"
    except (OSError, RuntimeError, ValueError) as error:
        not_text = isinstance(error, UnicodeDecodeError)
        problem = "isn't UTF-8" if not_text else f"can't be read: {getattr(error, 'strerror', None) or 'no such path'}"
    else:
        if len(content) > MAX_BYTES:
            problem = f"is larger than {MAX_BYTES // 1024} KiB, so it holds something else"
        else:
            value = value.removesuffix("\n").removesuffix("\r")
            problem = "" if value else "is empty"
    if problem:  # raised out here, so that no context carries the file's bytes along
        raise UnavailableError(f"the file {name} {problem}")
    return ExternalValue(value)


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise OSError(0, "it is a folder" if path.is_dir() else "it isn't a regular file")
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)

"""References to values outside of the configuration file: `{env: NAME}` and `{file: PATH}`."""

from collections.abc import Mapping
from pathlib import Path

from campaign_sync.errors import CampaignSyncError

MAX_BYTES = 64 * 1024
"""The largest file that a value is read from. A larger one must be a mistake."""


class ExternalValue(str):
    """A value of an environment variable or a separate file, so that copies of the configuration don't contain it."""

    __slots__ = ()


class UnavailableError(CampaignSyncError):
    """The value of a reference can't be read. The message never contains a value."""


def from_environment(name: str, environ: Mapping[str, str]) -> ExternalValue:
    """Return the value of an environment variable.

    Raises:
        UnavailableError: it is unset or empty.
    """
    if value := environ.get(name):
        return ExternalValue(value)
    raise UnavailableError(f"the environment variable {name} is {'empty' if name in environ else 'not set'}")


def from_file(name: str) -> ExternalValue:
    """Return the content of a file, without the line break at its end, which editors add.

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
    if problem:  # raised here, so that no exception context contains the file's bytes
        raise UnavailableError(f"the file {name} {problem}")
    return ExternalValue(value)


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would block
        raise OSError(0, "it is a folder" if path.is_dir() else "it isn't a regular file")
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)

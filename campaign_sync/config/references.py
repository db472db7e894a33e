"""References to values outside of the configuration file: `{env: NAME}` and `{file: PATH}`."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr

from campaign_sync.errors import CampaignSyncError

MAX_BYTES = 64 * 1024
"""The largest file that a value is read from. A larger one must be a mistake."""


class ExternalValue(str):
    """A value of an environment variable or a separate file, so that copies of the configuration don't contain it."""

    __slots__ = ()


class UnavailableError(CampaignSyncError):
    """The value of a reference can't be read. The message never contains a value."""


@dataclass(frozen=True)
class Reference:
    """`{env: NAME}` or `{file: PATH}`, as it is written in the file."""

    key: str
    """`env` or `file`."""
    name: str
    """The environment variable, or the path."""

    def value(self, environ: Mapping[str, str]) -> ExternalValue:
        """Return what it refers to, as it is now.

        Raises:
            UnavailableError: the variable is unset or empty, or the file can't be read.
        """
        return from_environment(self.name, environ) if self.key == "env" else from_file(self.name)


class ExternalSecret(SecretStr):
    """A credential that is read whenever it is used, so that no process needs those that it doesn't use."""

    def __init__(self, reference: Reference, environ: Mapping[str, str] | None, place: str) -> None:
        """Read nothing yet.

        Args:
            reference: where the value is.
            environ: the environment variables; those of the process at the time of use if None.
            place: file, line and keys of the reference, with which errors begin.
        """
        super().__init__("")
        self._reference, self._environ, self._place = reference, environ, place

    def get_secret_value(self) -> str:
        """Return the value as it is now.

        Raises:
            UnavailableError: it can't be read. The message names the place in the configuration file.
        """
        try:
            return str(self._reference.value(os.environ if self._environ is None else self._environ))
        except UnavailableError as error:
            raise UnavailableError(f"{self._place}: {error}") from None

    def problem(self) -> str | None:
        """Return why the value can't be read, with the place in the configuration file; None if it can."""
        try:
            self.get_secret_value()
        except UnavailableError as error:
            return str(error)
        return None

    def _display(self) -> str:
        return "**********"

    def __len__(self) -> int:
        return len(self.get_secret_value())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExternalSecret) and self._reference == other._reference

    def __hash__(self) -> int:
        return hash(self._reference)


def unavailable_secrets(section: object) -> list[str]:
    """Return why secrets in a section of the configuration can't be read, a line for each, with its place."""
    if isinstance(section, ExternalSecret):
        problem = section.problem()
        return [problem] if problem else []
    if isinstance(section, BaseModel):
        values: Iterable[object] = (getattr(section, name) for name in type(section).model_fields)
    elif isinstance(section, Mapping):
        values = section.values()
    else:
        values = section if isinstance(section, list | tuple) else ()
    return [problem for value in values for problem in unavailable_secrets(value)]


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

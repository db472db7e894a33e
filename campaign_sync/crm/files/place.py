"""The folders in which a CRM delivers files and takes some: their connections, and their errors in the CRM's words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Self, TypeVar

from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.delivered_files.errors import (
    DeliveredFilesError,
    FileLoginError,
    UnreachableFilesError,
    UnsettledFileError,
)
from campaign_sync.delivered_files.file_source import FileSource
from campaign_sync.delivered_files.open import open_file_source

ATTEMPTS = 4
"""How often something is tried while the connection is lost or the server is busy."""

_LONGEST_WAIT_SECONDS = 20

Result = TypeVar("Result")


class Place:
    """A folder of files; a context manager that closes its connection. A lost connection is opened again.

    Args:
        settings: the section `crm`.
        key: the setting with the URL.
    """

    def __init__(self, settings: FilesSettings, key: Literal["url", "write_back"]) -> None:
        self._settings = settings
        self._key = key
        self._source: FileSource | None = None

    def attempt(self, work: Callable[[FileSource], Result]) -> Result:
        """Return the result of some work on the folder, which is repeated if the connection is lost.

        Raises:
            CrmError: the folder can't be used, or not now.
        """
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(max=_LONGEST_WAIT_SECONDS),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        with file_errors():
            result: Result = retrying(self._try, work)
        return result

    def _try(self, work: Callable[[FileSource], Result]) -> Result:
        if self._source is None:
            self._source = self._open()
        try:
            return work(self._source)
        except UnreachableFilesError:
            self.close()
            raise

    def _open(self) -> FileSource:
        settings = self._settings
        return open_file_source(
            getattr(settings, self._key),
            username=_revealed(settings.username),
            password=_revealed(settings.password),
            key_file=settings.key_file,
            known_hosts=settings.known_hosts,
            setting=f"crm.{self._key}",
        )

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _may_pass(error: BaseException) -> bool:
    """Return whether another connection may help: it doesn't if a file changed."""
    return isinstance(error, UnreachableFilesError) and not isinstance(error, UnsettledFileError)


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn errors of files into CrmErrors."""
    try:
        yield
    except UnsettledFileError:
        raise CrmError("a delivered file changed while it was read; the next attempt reads the new delivery") from None
    except FileLoginError as error:
        raise CrmSetupError(str(error)) from None
    except DeliveredFilesError as error:
        raise CrmError(str(error)) from None

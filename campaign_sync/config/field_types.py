"""The types of single values in the configuration. No message repeats a value, which may be a secret."""

import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from campaign_sync.config.database_url import DatabaseUrlError, read_database_url, usable_database_url
from campaign_sync.config.references import ExternalSecret, ExternalValue
from campaign_sync.domain.address import InvalidAddressError, normalize_address
from campaign_sync.domain.text import normalize_text
from campaign_sync.domain.time_pattern import pattern_problem
from campaign_sync.domain.url import is_ambiguous, may_hold_password

ENVIRONMENT_REFERENCE, FILE_REFERENCE = (
    {
        "type": "object",
        "description": description,
        "properties": {key: {"type": "string", "minLength": 1, "description": meaning}},
        "required": [key],
        "additionalProperties": False,
    }
    for key, description, meaning in (
        ("env", "The value of an environment variable.", "The variable's name."),
        ("file", "What a file holds, without the line break at its end.", "The file's path."),
    )
)
"""JSON schemas of `{env: NAME}` and `{file: PATH}`."""

REFERENCE: dict[str, Any] = {"anyOf": [ENVIRONMENT_REFERENCE, FILE_REFERENCE]}
"""JSON schema of a value that must not be in the file itself."""

KEY_PATTERN = r"^[a-z][a-z0-9_]*$"
"""What names in the configuration match."""
LONGEST_KEY = 64
"""How many characters such a name has at most: the width of its columns in the state database."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LENGTHS = {month: 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 for month in range(1, 13)}
_CRON_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not yes or no")  # noqa: TRY004 - pydantic passes a TypeError on
    return value


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    message = "a duration is expected, like 90m, 2h, 30d or PT2H30M"
    if not isinstance(value, str) or not value:
        raise ValueError(message)
    if value.startswith("P"):
        return str(value)
    parts = re.fullmatch(r"([0-9]{1,9})\s*([smhd])", value)
    if not parts:
        raise ValueError(message)
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


def _sensible_duration(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(days=3650):
        raise ValueError("a duration is longer than nothing and at most 3650d")
    return value


def _credential(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    if isinstance(value, ExternalSecret):  # which validation would read
        return value
    if isinstance(value, ExternalValue | SecretStr):
        return validate(value)
    raise ValueError(
        "a credential must not be in this file, where copies and version control would spread it; "
        "write {env: NAME} and set that environment variable, or {file: PATH} and keep it in that file"
    )


def _hidden(check: Callable[[str], str]) -> Callable[[SecretStr], SecretStr]:
    return lambda value: SecretStr(check(value.get_secret_value()))


def _state_url(text: str) -> str:
    if not text.startswith(("postgresql+", "sqlite:", "sqlite+")):
        raise ValueError("the product's own state lives in PostgreSQL or SQLite: postgresql://… or sqlite:///…")
    return text


def _no_literal_password(value: object) -> object:
    if isinstance(value, ExternalValue) or not isinstance(value, str):
        return value
    try:
        url = read_database_url(value)
        has_password = url.password is not None or any("password" in key.lower() for key in url.query)
    except DatabaseUrlError:
        return value  # the next validator refuses it
    if has_password:
        raise ValueError(
            "the URL has a password in it; write {env: NAME} and set that environment variable to the URL, or "
            "{file: PATH} and keep the URL in that file"
        )
    return value


def _no_password(value: str) -> str:
    if may_hold_password(value):
        raise ValueError(
            "the URL has a password in it, or a : before an @; for SFTP there are the keys username and password, "
            "object stores take their credentials from the environment, and an @ in the path is written %40"
        )
    return value


def _local_folder(value: str) -> str:
    if "://" in value:
        raise ValueError("a folder on a local disk is expected, and no URL")
    return value


def _base_url(value: str) -> str:
    example = "like https://api.campaign.episerver.net/soap11"
    try:
        parts = urlsplit(value)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        complete &= not is_ambiguous(value)
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(f"an http or https URL is expected, {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL has credentials in it; a mandator's username and password have their own keys")
    if parts.scheme == "http" and not _stays_inside(parts.hostname or ""):
        raise ValueError(
            "passwords and people's addresses would travel in clear text; write https://, or a host without a dot in "
            "its name, which is on this machine or in its own network"
        )
    if parts.query or parts.fragment or parts.path.rstrip("/").rpartition("/")[2].startswith("Rpc"):
        raise ValueError(f"leave out /Rpc<Service> and ?wsdl, they are appended: {example}")
    return value.rstrip("/")


def _ui_url(value: str) -> str:
    if may_hold_password(value):
        raise ValueError(
            "the URL has a password in it, or a : before an @; leave it out: this URL is sent in every alarm"
        )
    return value


def _stays_inside(host: str) -> bool:
    """Return whether a host is this machine, or in a network that resolves names without dots, like Docker's."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return bool(re.fullmatch(r"[a-z][a-z0-9_-]*", host))  # with a digit first, it could be an address


def _ca_file(value: str) -> str:
    path = Path(value).expanduser()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        problem = "the file holds no certificate; it must be in the form PEM, with -----BEGIN CERTIFICATE-----"
    except OSError as error:
        problem = f"the file can't be read ({error.strerror}); check the path and its permissions"
    else:
        return str(path)
    raise ValueError(problem)


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no time zone has this name; use one of the tz database, like Europe/Berlin") from None
    return value


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(
            "five fields are expected: minute, hour, day of the month, month, day of the week; "
            'like "30 4 * * *" for every day at 4:30'
        )
    for text, (name, low, high, names) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_cron_item(item, low, high, names) for item in text.lower().split(",")):
            raise ValueError(
                f"the {name} must be *, a number from {low} to {high}, a range like {low}-{high}, "
                "each of the last two perhaps with a step like */5, or several of them with commas"
            )
    _, _, days, months, weekdays = fields
    if weekdays == "*" and min(_cron_numbers(days, 2)) > max(_LENGTHS[month] for month in _cron_numbers(months, 3)):
        raise ValueError("no such day ever comes: the month is shorter than the day of the month")
    return " ".join(fields)


def _cron_numbers(text: str, field: int) -> list[int]:
    """Return the numbers in a valid field, of steps also those in between."""
    _, low, high, names = _CRON_FIELDS[field]
    numbers: list[int] = []
    for item in text.lower().split(","):
        ends = [names.get(end) or int(end) for end in item.partition("/")[0].replace("*", f"{low}-{high}").split("-")]
        numbers += range(ends[0], ends[-1] + 1)
    return numbers


def _is_cron_item(item: str, low: int, high: int, names: dict[str, int]) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (re.fullmatch(r"[0-9]{1,3}", step) and 1 <= int(step) <= high):
        return False
    if span == "*":
        return True
    numbers = [names.get(end, int(end) if re.fullmatch(r"[0-9]{1,2}", end) else -1) for end in span.split("-")]
    if any(not low <= number <= high for number in numbers):
        return False
    return len(numbers) == 2 and numbers[0] < numbers[1] if slash or "-" in span else len(numbers) == 1


def _column(value: object) -> object:
    if isinstance(value, ExternalValue) and value.isdecimal():
        return int(value)
    is_position = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_position:
        return value
    if isinstance(value, str) and value.strip():
        return normalize_text(value)
    raise ValueError("a column is its position from 0, or its name in the header row")


def _time_format(value: str) -> str:
    if value in ("epoch_ms", "iso"):
        return value
    if "%" not in value:
        raise ValueError("epoch_ms, iso or a strptime pattern with a whole date is expected, like %d.%m.%Y %H:%M:%S")
    problem = pattern_problem(value)
    if problem:
        raise ValueError(f"epoch_ms, iso or a strptime pattern that reads back what it wrote is expected; {problem}")
    return value


def _email_address(value: str) -> str:
    try:
        return normalize_address(value)
    except InvalidAddressError as error:
        raise ValueError(f"an e-mail address is expected: {error}") from None


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Name = Annotated[Text, AfterValidator(normalize_text)]
"""The name of an object in another system, compared without regard to outer blanks and decomposed letters."""
Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=LONGEST_KEY)]
"""A name in the configuration."""
EmailAddress = Annotated[str, AfterValidator(_email_address)]
Whole = Annotated[int, BeforeValidator(_no_truth_value)]
VendorId = Annotated[int, BeforeValidator(_no_truth_value), Field(gt=0, lt=2**63)]
Number = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    AfterValidator(_sensible_duration),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]{1,9}\s*[smhd]|P.+)$"}),
]
CREDENTIAL_VALIDATOR = WrapValidator(_credential)
"""What the types of credentials have, and no other types."""
Credential = Annotated[
    SecretStr,
    CREDENTIAL_VALIDATOR,
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(REFERENCE),
]
"""A secret that isn't in the file. It is read when it is used, where the file was read with `load_configuration`."""
_URL_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
DatabaseUrl = Annotated[
    SecretStr, BeforeValidator(_no_literal_password), AfterValidator(_hidden(usable_database_url)), _URL_SCHEMA
]
StateUrl = Annotated[DatabaseUrl, AfterValidator(_hidden(_state_url))]
Location = Annotated[Text, AfterValidator(_no_password)]
LocalFolder = Annotated[Text, AfterValidator(_local_folder)]
CaFile = Annotated[Text, AfterValidator(_ca_file)]
UiUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^https?://"), AfterValidator(_ui_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]
CronExpression = Annotated[str, AfterValidator(_cron)]
Column = Annotated[int | str, BeforeValidator(_column)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]

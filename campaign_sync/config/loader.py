"""Loading of the configuration file, with all mistakes reported at once."""

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from campaign_sync.config.broken_mandators import BrokenMandator
from campaign_sync.config.crm import CrmSettings
from campaign_sync.config.cross_checks import find_conflicts
from campaign_sync.config.field_types import KEY_PATTERN, LONGEST_KEY
from campaign_sync.config.misread_values import find_misread_values
from campaign_sync.config.models import Configuration, CrmSection, SoundMandators
from campaign_sync.config.section_types import is_credential, known_keys
from campaign_sync.config.yaml_source import Document, Place, Problem, read_document
from campaign_sync.config.yaml_source import Path as KeyPath
from campaign_sync.distribution import manual_page
from campaign_sync.errors import CampaignSyncError

CONFIGURATION_VARIABLE = "CAMPAIGN_SYNC_CONFIG"
"""Environment variable with the path of the file."""

DEFAULT_PATH = Path("campaign_sync.yaml")
"""The path of the file without that variable."""

_Model = TypeVar("_Model", bound=BaseModel)

_SENTENCES = {
    "missing": "this key is required",
    "string_type": "text is expected; put the value in quotes",
    "string_too_short": "the value is empty",
    "string_too_long": "at most {max_length} characters are expected",
    "string_pattern_mismatch": "the value doesn't match the pattern {pattern}",
    "int_type": "a whole number is expected",
    "int_parsing": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "float_parsing": "a number is expected",
    "bool_type": "true or false is expected",
    "bool_parsing": "true or false is expected",
    "greater_than": "the value must be greater than {gt}",
    "greater_than_equal": "the value must be at least {ge}",
    "less_than": "the value must be less than {lt}",
    "less_than_equal": "the value must be at most {le}",
    "literal_error": "the value must be {expected}",
    "enum": "the value must be {expected}",
    "dict_type": "a section with keys is expected here",
    "tuple_type": "a list is expected here, each entry with a dash in front",
    "list_type": "a list is expected here, each entry with a dash in front",
    "model_type": "a section with keys is expected here",
    "too_short": "at least one entry is expected",
    "time_delta_parsing": "a duration is expected, like 90m, 2h, 30d or PT2H30M",
    "value_error": "{error}",
}
"""Messages for the editor of the file, by pydantic's error types."""


class ConfigurationError(CampaignSyncError):
    """The configuration is invalid. One line per mistake: `file:line:column dotted.path: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def load_configuration(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    section: Sequence[str] = (),
    whole: bool = True,
) -> Configuration:
    """Read and validate the configuration. Credentials aren't read: see `ExternalSecret`.

    Args:
        path: the YAML file; by default the one in `CAMPAIGN_SYNC_CONFIG`, else `campaign_sync.yaml` in the working
            directory.
        environ: the environment variables, by default those of the process.
        section: the keys that lead to the configuration in a file that has other things as well.
        whole: whether mistakes in the settings of a single mandator are raised as well. Else such mandators are
            `broken_mandators` of the result, and not among its `mandators`.

    Raises:
        ConfigurationError: the file is missing or has mistakes; the message lists all with their places.
    """
    path, document = _read(path, environ, section)
    configuration, details = _validated(document.value, Configuration)
    problems = [
        *document.problems,
        *_not_reported(details, document),
        *(Problem(document.place_of(where), where, sentence) for where, sentence in find_conflicts(document.value)),
        *(Problem(document.place_of(where), where, sentence) for where, sentence in find_misread_values(document)),
    ]
    if configuration is not None and not problems:
        return configuration
    broken = None if whole else _problems_by_mandator(problems, document.value)
    if broken is None:
        raise _error(path, problems)
    return _without_broken(path, document.value, broken)


def _problems_by_mandator(problems: Iterable[Problem], value: Any) -> dict[str, list[Problem]] | None:
    """Return the mistakes by the mandators whose settings have them.

    None if one is in a section that mandators share, or if it isn't known which mandator it concerns.
    """
    by_mandator: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        section, name = problem.path[:2] if len(problem.path) > 1 else (None, "")
        is_key = bool(re.fullmatch(KEY_PATTERN, str(name))) and len(str(name)) <= LONGEST_KEY
        if section != "mandators" or not is_key or name not in value["mandators"]:
            return None
        by_mandator[str(name)].append(problem)
    return by_mandator


def _without_broken(path: Path, value: Any, broken: Mapping[str, list[Problem]]) -> Configuration:
    mandators = value["mandators"]
    sound = {name: section for name, section in mandators.items() if name not in broken}
    return SoundMandators.of(
        {**value, "mandators": sound},
        {name: BrokenMandator.of(mandators[name], _lines(path, problems)) for name, problems in broken.items()},
    )


def load_crm(path: Path | None = None, environ: Mapping[str, str] | None = None) -> CrmSettings | None:
    """Read a file whose only section is `crm`. Returns None for any other. See `load_configuration`.

    Raises:
        ConfigurationError: the section has mistakes; the message lists all with their places.
    """
    path, document = _read(path, environ)
    if not isinstance(document.value, dict) or set(document.value) != {"crm"}:
        return None
    section, details = _validated(document.value, CrmSection)
    problems = [*document.problems, *_not_reported(details, document)]
    if problems or section is None:
        raise _error(path, problems)
    return section.crm


def _read(path: Path | None, environ: Mapping[str, str] | None, section: Sequence[str] = ()) -> tuple[Path, Document]:
    """Return the path of the file and a section of it, with the values of all references except for credentials."""
    current_environ = os.environ if environ is None else environ
    path = path or Path(current_environ.get(CONFIGURATION_VARIABLE) or DEFAULT_PATH)
    document = _document(path, _text(path)).section(*section)

    def secret_place(where: KeyPath) -> str | None:
        if not is_credential(where, document.value):
            return None
        return _location(path, document.place_of(where), where)

    document.read_references(environ, secret_place, current_environ)
    return path, document


def _error(path: Path, problems: list[Problem]) -> ConfigurationError:
    return ConfigurationError(_lines(path, problems))


def _lines(path: Path, problems: Iterable[Problem]) -> list[str]:
    """Return a line for each mistake, in their order in the file."""
    in_order = sorted(problems, key=lambda problem: (problem.place.line, problem.place.column))
    return [_line(path, problem) for problem in in_order]


def _text(path: Path) -> str:
    """Return the text of the file, which must be UTF-8, without a byte order mark."""
    problem = None
    data = b""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        problem = (
            f"{path}: there is no such file. Name your configuration by --config or the environment variable "
            f"{CONFIGURATION_VARIABLE}, or try the product without one: campaign-sync demo"
        )
    except OSError as error:
        problem = f"{path}: the file can't be read: {error.strerror}"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        problem = f"{path}:{line}:{column} byte {error.start} isn't UTF-8; save the file in the encoding UTF-8"
    if problem:  # raised here, so that no exception context contains the file's bytes
        raise ConfigurationError([problem])
    return text.removeprefix("\ufeff")


def _document(path: Path, text: str) -> Document:
    try:
        document = read_document(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        problem = Problem(place, (), f"the character U+{ord(text[error.position]):04X} is forbidden in YAML")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        problem = Problem(Place.of(mark) if mark else Place(), (), f"this isn't YAML:{context} {error.problem}")
    else:
        if document.value is not None or document.problems:
            return document
        example = manual_page("campaign_sync.example.yaml")
        problem = Problem(Place(), (), f"the file is empty; {example} shows a complete one")
    raise ConfigurationError([_line(path, problem)])


def _validated(value: Any, model: type[_Model]) -> tuple[_Model | None, list[ErrorDetails]]:
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _not_reported(details: list[ErrorDetails], document: Document) -> Iterator[Problem]:
    return (problem for problem in _translated(details, document) if not _is_reported(problem.path, document))


def _translated(details: list[ErrorDetails], document: Document) -> Iterator[Problem]:
    for detail in details:
        kind = detail["type"]
        path = tuple(step for step in detail["loc"] if step != "[key]")
        is_key = "[key]" in detail["loc"] or kind == "extra_forbidden"
        if kind == "extra_forbidden":
            sentence = _unknown_key(path, document.value)
        elif kind == "string_pattern_mismatch" and is_key:
            sentence = "a name has lower-case letters, digits and underscores only, and begins with a letter"
        else:
            template = _SENTENCES.get(kind)
            sentence = template.format_map(detail.get("ctx", {})) if template else detail["msg"]
        yield Problem(document.place_of(path, of_key=is_key), path, sentence)


def _is_reported(path: KeyPath, document: Document) -> bool:
    """Return whether the value at `path` couldn't be read, which is reported already."""
    return any(path[: len(unreadable)] == unreadable for unreadable in document.unreadable)


def _unknown_key(path: KeyPath, value: Any) -> str:
    known = known_keys(path[:-1], value)
    similar = difflib.get_close_matches(str(path[-1]), known, n=1)
    suggestion = f"did you mean {similar[0]}?" if similar else f"known here are {', '.join(known)}"
    return f"this key isn't known; {suggestion}"


def _line(path: Path, problem: Problem) -> str:
    return f"{_location(path, problem.place, problem.path)}{':' if problem.path else ''} {problem.sentence}"


def _location(path: Path, place: Place, keys: KeyPath) -> str:
    """Return the place of a value: file, line, column, and the keys that lead to it."""
    return f"{path}:{place.line}:{place.column}{' ' if keys else ''}{'.'.join(map(str, keys))}"

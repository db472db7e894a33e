"""Conflicts between values of the configuration.

These rules use the plain values of the file instead of the models, so that conflicts are reported together with single
wrong values.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ValidationError

from campaign_sync.config.automation import AutomationSettings
from campaign_sync.config.models import MAX_CALLS, OptimizelySettings
from campaign_sync.config.yaml_source import Path
from campaign_sync.domain.recipient import READ_ONLY_ATTRIBUTES, TechnicalField
from campaign_sync.domain.text import normalize_text

Conflict = tuple[Path, str]
"""The path of the value to change, and the reason."""


def find_conflicts(value: Any) -> Iterator[Conflict]:
    """Yield every conflict between values of a configuration file, even if other values are invalid."""
    mandators = _entries(value, "mandators")
    yield from _repeated(
        [(("mandators", name, "mandator_id"), mandator.get("mandator_id")) for name, mandator in mandators],
        "two entries are of the same mandator; the other is",
    )
    lists = [
        (("mandators", mandator_name, "lists", list_name), settings)
        for mandator_name, mandator in mandators
        for list_name, settings in _entries(mandator, "lists")
    ]
    yield from _repeated(
        [((*path, "recipient_list_id"), settings.get("recipient_list_id")) for path, settings in lists],
        "two entries would overwrite each other in one recipient list; the other is",
    )
    for name, mandator in mandators:
        yield from _parallel_conflicts(("mandators", name, "parallel_runs"), mandator, _section(value, "optimizely"))
        if mandator.get("report_to"):
            yield from _report_conflicts(("mandators", name, "report_to"), value)
    for path, settings in lists:
        yield from _attribute_conflicts(path, settings)
    for target, settings in _entries(_section(value, "alarms"), "apprise"):
        yield from _unknown_mandators(
            ("alarms", "apprise", target, "mandators"), settings, _section(value, "mandators").keys()
        )


def _report_conflicts(path: Path, value: Any) -> Iterator[Conflict]:
    if not _section(value, "alarms").get("email"):
        yield path, "reports are mailed by the server of alarms.email; configure that, or leave report_to out"
    if _section(value, "reports").get("languages") == []:
        yield path, "no report is written, because reports.languages is empty; name one, or leave report_to out"


def _parallel_conflicts(path: Path, mandator: dict[str, Any], optimizely: dict[str, Any]) -> Iterator[Conflict]:
    runs = _whole(mandator.get("parallel_runs", 1))
    calls = _whole(optimizely.get("parallel_calls", OptimizelySettings.model_fields["parallel_calls"].default))
    if runs <= 1:
        return
    if runs * calls > MAX_CALLS:
        sentence = (
            f"{runs} runs with {calls} calls each (optimizely.parallel_calls) are more than the {MAX_CALLS} "
            "calls at the same time that the vendor allows a mandator; lower one of them"
        )
        yield path, sentence
    if not _repairs(_section(mandator, "automation")):
        yield path, "automation.repair starts the groups of lists; switch it on, or leave parallel_runs out"


def _repairs(automation: dict[str, Any]) -> bool:
    """Return whether the section has the repair switched on, in whatever spelling; mistakes have rules of their own."""
    try:
        return AutomationSettings.model_validate(automation).repair
    except ValidationError:
        return True


def _unknown_mandators(path: Path, settings: dict[str, Any], known: Collection[str]) -> Iterator[Conflict]:
    chosen = settings.get("mandators")
    for position, name in enumerate(chosen if isinstance(chosen, list) else []):
        if name not in known:
            yield (*path, position), "there is no such mandator; name one of mandators"


def _repeated(ids: list[tuple[Path, object]], sentence: str) -> Iterator[Conflict]:
    """Yield all entries with an id that another has as well: it isn't known which of them is right."""
    paths_by_id: defaultdict[str, list[Path]] = defaultdict(list)
    for path, number in ids:
        if number is not None:
            paths_by_id[_normalize_id(number)].append(path)
    for paths in paths_by_id.values():
        for path in paths if len(paths) > 1 else ():
            others = (".".join(map(str, other[:-1])) for other in paths if other != path)
            yield path, f"{sentence} {', '.join(others)}"


def _whole(number: object) -> int:
    """Return a whole number; 0 for what isn't one, which another rule reports."""
    try:
        return int(str(number))
    except ValueError:
        return 0


def _normalize_id(number: object) -> str:
    """Return an id in one spelling: `100`, `"0100"` and `100.0` are equal."""
    try:
        return str(int(float(text) if "." in (text := str(number)) else text))
    except (ValueError, OverflowError):
        return str(number)


def _attribute_conflicts(path: Path, settings: dict[str, Any]) -> Iterator[Conflict]:
    renamed = _section(settings, "technical_fields")
    technical: dict[str, TechnicalField] = {}
    for field in TechnicalField:
        attribute = normalize_text(str(renamed.get(field.value) or field.value))
        place = (*path, "technical_fields", field.value)
        if attribute in technical:
            # Report the entry in the file, not the default that it conflicts with.
            if field.value not in renamed:
                place = (*path, "technical_fields", technical[attribute].value)
            others = {field, technical[attribute]} - {TechnicalField(str(place[-1]))}
            yield place, f"the attribute holds the technical field {others.pop().value} already; choose another"
        technical.setdefault(attribute, field)
        if attribute.casefold() in READ_ONLY_ATTRIBUTES:
            yield place, "the vendor writes this attribute itself; choose another"
    sent: set[str] = set()
    for attribute in map(str, _section(settings, "attributes")):
        place = (*path, "attributes", attribute)
        name = normalize_text(attribute)
        if name in sent:
            yield place, "the attribute occurs twice, in two spellings; remove one of them"
        sent.add(name)
        if name in technical:
            yield (
                place,
                (
                    f"the attribute holds the technical field {technical[name].value}; leave it out here, "
                    "or give that field another attribute under technical_fields"
                ),
            )
        if name.casefold() in READ_ONLY_ATTRIBUTES:
            yield place, "the vendor writes this attribute itself; leave it out"


def _section(value: Any, key: str) -> dict[str, Any]:
    section = value.get(key) if isinstance(value, dict) else None
    return section if isinstance(section, dict) else {}


def _entries(value: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name, entry in _section(value, key).items() if isinstance(entry, dict)]

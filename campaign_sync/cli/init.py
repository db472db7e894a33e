"""`campaign-sync init`: asks a CRM what it has, and writes a first configuration with it to choose from."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm_adapters import AdapterError, adapter_names, load_adapter
from campaign_sync.config.references import ExternalValue
from campaign_sync.crm.adapter import CrmAdapter
from campaign_sync.crm.outline import Choice, CrmOutline
from campaign_sync.distribution import manual_page
from campaign_sync.domain.printable_text import printable_line
from campaign_sync.domain.text import normalize_text

MOST_PICKS = 100
"""How many lists and reports are written."""

_OPTIMIZELY = "https://api.campaign.episerver.net/soap11"

_CHOICE = "#-"
"""What the lines of choices begin with."""


def write_first_configuration(
    name: str, given: Sequence[str], output: Path, ask: Callable[[str], str] | None = None
) -> CrmOutline:
    """Ask a CRM what it has, and write a configuration with it. Returns what was found.

    Args:
        name: the adapter.
        given: settings of the login as `key=value`. Credentials are in environment variables instead.
        output: where to write. The file must not exist.
        ask: returns a setting that is missing, after asking a person; None if there is none.

    Raises:
        CommandError: a setting is missing or wrong, the adapter has nothing to ask, or the file exists.
        CrmError: the CRM can't be asked.
    """
    if output.exists():
        raise CommandError(f"{output} exists, and isn't overwritten; name another file with --output")
    adapter = _adapter(name)
    section, login = _login(name, adapter.login, given, ask)
    outline: CrmOutline = adapter.outline(login)
    text = configuration_text(name, section, outline)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{output} can't be written ({error.strerror}); name another file with --output") from None
    return outline


def _adapter(name: str) -> Any:
    try:
        adapter: CrmAdapter = load_adapter(name)
    except AdapterError as error:
        raise CommandError(str(error)) from None
    if adapter.login is None or adapter.outline is None:
        able = [other for other in adapter_names() if getattr(load_adapter(other), "outline", None)]
        raise CommandError(
            f"{name} can't be asked what it has, only {', '.join(able)}; see {manual_page('crm.md')} for {name}"
        )
    return adapter


def _login(
    name: str, model: type[ConfigModel], given: Sequence[str], ask: Callable[[str], str] | None
) -> tuple[dict[str, object], ConfigModel]:
    """Return the settings of the login, as the file has them, and as they are used."""
    pairs = dict(_pair(setting, model) for setting in given)
    for key, field in model.model_fields.items() if ask else ():
        if ask and key not in pairs and field.is_required() and not _is_credential(field):
            pairs[key] = ask(f"{key} ({field.description})" if field.description else key)
    values: dict[str, object] = dict(pairs)
    section: dict[str, object] = {"adapter": name, **pairs}
    for key, field in model.model_fields.items():
        variable = _variable(name, key)
        if _is_credential(field) and os.environ.get(variable):
            values[key] = ExternalValue(os.environ[variable])
            section[key] = {"env": variable}
    try:
        return section, model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(name, model, details) for details in error.errors()]
    raise CommandError("; ".join(problems))


def _pair(setting: str, model: type[ConfigModel]) -> tuple[str, str]:
    key, separator, value = setting.partition("=")
    field = model.model_fields.get(key)
    if not separator or field is None or _is_credential(field):
        known = [name for name, field in model.model_fields.items() if not _is_credential(field)]
        raise CommandError(f"--set takes {', '.join(f'{name}=…' for name in known)}; correct {key}")
    return key, value


def _is_credential(field: FieldInfo) -> bool:
    def has_secret(annotation: object) -> bool:
        return annotation is SecretStr or any(map(has_secret, get_args(annotation)))

    return has_secret(field.annotation)


def _variable(name: str, key: str) -> str:
    return f"{name}_{key}".upper()


def _problem(name: str, model: type[ConfigModel], details: Any) -> str:
    sentence = str(details["msg"]).removeprefix("Value error, ")
    if not details["loc"]:
        variables = [_variable(name, key) for key, field in model.model_fields.items() if _is_credential(field)]
        return f"{sentence} (credentials are in the environment variables {', '.join(variables)})"
    key = str(details["loc"][0])
    if details["type"] != "missing":
        return f"{key}: {sentence}"
    if _is_credential(model.model_fields[key]):
        return f"{key} is missing; set the environment variable {_variable(name, key)}"
    return f"{key} is missing; add --set {key}=…"


def configuration_text(name: str, section: Mapping[str, object], outline: CrmOutline) -> str:
    """Return the YAML of a first configuration. What a person chooses is commented out."""
    return "\n".join(_lines(name, section, outline)) + "\n"


def _lines(name: str, section: Mapping[str, object], outline: CrmOutline) -> Iterator[str]:
    yield f"# What the CRM ({name}) has, by campaign-sync init on {date.today()}. Lines with {_CHOICE}"  # noqa: DTZ011
    yield f"# are choices: remove the {_CHOICE} of those that apply. Replace what is in CAPITALS."
    yield "# Then: campaign-sync check"
    yield "optimizely:"
    yield f"  base_url: {_OPTIMIZELY}"
    yield "crm:"
    for key, value in {**section, **outline.settings}.items():
        yield f"  {key}: {_flow(value)}"
    yield from (f"  # {printable_line(remark)}" for remark in outline.remarks)
    yield from _choices("  ", outline.options)
    if outline.bounces:
        yield "  bounce:"
        yield from _choices("    ", outline.bounces)
    if not outline.opt_ins_in_crm:
        yield "  opt_ins: # the consents that lists are sent on: choose with care, a column may mean something else"
        yield from _choices("    ", _as_opt_ins(outline.consents))
    yield from _MANDATOR
    yield from _choices("        ", [Choice({"select": pick.settings}, "", pick.remark) for pick in outline.picks])
    yield f"        attributes: {{}} # names in Campaign, and the CRM's columns: {outline.attributes}"


_MANDATOR = (
    "mandators:",
    "  nord:",
    "    mandator_id: CLIENT_NUMBER_IN_CAMPAIGN",
    "    username: {env: NORD_USERNAME}",
    "    password: {env: NORD_PASSWORD}",
    '    schedule: "30 4 * * *"',
    "    lists:",
    "      newsletter:",
    "        recipient_list_id: LIST_NUMBER_IN_CAMPAIGN",
    "        kind: regular",
    "        opt_in_id: NAME_OF_AN_OPT_IN",
)


def _as_opt_ins(consents: Iterable[Choice]) -> Iterator[Choice]:
    used: set[str] = set()
    for consent in consents:
        key = _key(consent.title, used)
        used.add(key)
        settings = {"mandator": "nord", "description": _description(consent.title), **consent.settings}
        yield Choice({key: settings}, remark=consent.remark)


def _description(title: str) -> str:
    return normalize_text(title.removesuffix("__c").replace("_", " "))


def _key(title: str, used: set[str]) -> str:
    """Return an id for an opt-in that none has."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.removesuffix("__c").lower()).split()
    key = "_".join(words) or "opt_in"
    return key if key not in used else f"{key}_{len(used)}"


def _choices(indent: str, choices: Iterable[Choice]) -> Iterator[str]:
    listed = list(choices)
    for choice in listed[:MOST_PICKS]:
        ((key, value),) = choice.settings.items()
        remark = f" # {' '.join(choice.remark.split())}" if choice.remark else ""
        yield f"{indent}{_CHOICE} {_flow(key)}: {_flow(value)}{remark}"
    if len(listed) > MOST_PICKS:
        yield f"{indent}# and {len(listed) - MOST_PICKS} more"


def _flow(value: object) -> str:
    """Return a value as YAML in a single line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if value is None:
        return "null"
    text = str(value)
    if text.isprintable():
        written = yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10**6)
        return str(written).strip()[1:-1]
    return json.dumps(text)

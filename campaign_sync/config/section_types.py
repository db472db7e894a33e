"""The types of values at places of the configuration, by the models of its sections."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from campaign_sync.config.crm import CrmSettings
from campaign_sync.config.crm_adapters import AdapterError, settings_model
from campaign_sync.config.field_types import CREDENTIAL_VALIDATOR
from campaign_sync.config.models import Configuration
from campaign_sync.config.references import ExternalSecret
from campaign_sync.config.yaml_source import Path


def known_keys(path: Path, value: Any) -> list[str]:
    """Return the keys of the section at `path`, of a file with this value."""
    return list(
        dict.fromkeys(key for kind in _types_at(path, value) if _is_section(kind) for key in _field_names(kind))
    )


def is_credential(path: Path, value: Any) -> bool:
    """Return whether the value at `path` is a credential, of a file with this value."""
    return ExternalSecret in _types_at(path, value)


def _types_at(path: Path, value: Any) -> list[Any]:
    kinds: list[Any] = [Configuration]
    for number, step in enumerate(path):
        is_crm = number == 0 and step == "crm"
        kinds = [_crm_model(value)] if is_crm else [inner for kind in kinds for inner in _inside(kind, step)]
    return kinds


def _inside(kind: Any, step: str | int) -> Iterator[Any]:
    """Yield the types that a value has at a key or position of this type; `ExternalSecret` for a credential."""
    if _is_section(kind):
        field = kind.model_fields.get(_field_names(kind).get(str(step), ""))
        if field and CREDENTIAL_VALIDATOR in field.metadata:
            yield ExternalSecret
        else:
            yield from _alternatives(field.annotation if field else None)
    elif get_args(kind):  # a mapping or a list
        yield from _alternatives(get_args(kind)[-1 if get_origin(kind) is dict else 0])


def _alternatives(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        if CREDENTIAL_VALIDATOR in metadata:
            yield ExternalSecret
        else:
            yield from _alternatives(inner)
    elif get_origin(kind) in (UnionType, Union):
        for alternative in get_args(kind):
            yield from _alternatives(alternative)
    else:
        yield kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _crm_model(value: Any) -> type[BaseModel]:
    if not isinstance(value["crm"], dict):
        return CrmSettings
    try:
        return settings_model(value["crm"])
    except AdapterError:  # reported at its own place
        return CrmSettings


def _field_names(section: type[BaseModel]) -> dict[str, str]:
    """Return the names of the section's fields by their keys in the file."""
    return {info.alias or name: name for name, info in section.model_fields.items()}

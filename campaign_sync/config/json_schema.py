"""The JSON schema of the configuration file, for editors and reviews."""

from functools import reduce
from operator import or_
from typing import Any

from pydantic import Field, create_model

from campaign_sync.config.attribute_docstrings import DescribingJsonSchema, attribute_docstrings
from campaign_sync.config.crm_adapters import adapter_names, load_adapter
from campaign_sync.config.field_types import ENVIRONMENT_REFERENCE, FILE_REFERENCE, REFERENCE
from campaign_sync.config.models import Configuration

_REFERENCES = [{"$ref": "#/$defs/EnvironmentReference"}, {"$ref": "#/$defs/FileReference"}]
_SINGLE_VALUES = {"string", "integer", "number", "boolean", "null"}
_ANNOTATIONS = ("title", "description", "default")


def configuration_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12). Single values may be references, credentials must be.

    The section `crm` is that of any installed adapter.

    Raises:
        AdapterError: an installed adapter can't be imported.
    """
    schema = _with_installed_adapters().model_json_schema(schema_generator=DescribingJsonSchema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for section in (schema, *schema["$defs"].values()):
        section["properties"] = {name: _with_references(value) for name, value in section.get("properties", {}).items()}
    schema["$defs"] |= {"EnvironmentReference": ENVIRONMENT_REFERENCE, "FileReference": FILE_REFERENCE}
    return schema


def _with_installed_adapters() -> type[Configuration]:
    models: Any = reduce(or_, [load_adapter(name).settings for name in adapter_names()])
    description = attribute_docstrings(Configuration)["crm"]
    return create_model(
        Configuration.__name__,
        __base__=Configuration,
        __doc__=Configuration.__doc__,
        crm=(models, Field(description=description)),
    )


def _with_references(schema: dict[str, Any]) -> dict[str, Any]:
    annotations = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    bare = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    alternatives = bare["anyOf"] if set(bare) == {"anyOf"} and bare != REFERENCE else [bare]
    literal = [alternative for alternative in alternatives if alternative != REFERENCE]
    if all(map(_is_single_value, literal)):
        return {**annotations, "anyOf": [*literal, *_REFERENCES]}
    if isinstance(bare.get("additionalProperties"), dict):
        return {**schema, "additionalProperties": _with_references(bare["additionalProperties"])}
    if "patternProperties" in bare:
        return {**schema, "additionalProperties": False}
    if "$ref" in bare:  # a section, whose keys have their own defaults
        return {key: value for key, value in schema.items() if key != "default"}
    return schema


def _is_single_value(schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return all(_is_single_value(alternative) for alternative in schema["anyOf"])
    return schema.get("type") in _SINGLE_VALUES or "const" in schema or "enum" in schema

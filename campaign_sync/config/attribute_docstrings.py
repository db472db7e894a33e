"""Descriptions of keys: the docstrings below the attributes of sections.

They are read when a schema is made. pydantic itself reads them (`use_attribute_docstrings`) whenever the sections are
imported, by searching the files of all modules: a tenth of a second for each process.
"""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue


class DescribingJsonSchema(GenerateJsonSchema):
    """Makes a JSON schema with these descriptions."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of a section."""
        section: type[BaseModel] = schema["cls"]
        result, texts = super().model_schema(schema), attribute_docstrings(section)
        for name, field in section.model_fields.items():
            key = field.alias or name
            if field.description is None and name in texts and key in result.get("properties", {}):
                result["properties"][key]["description"] = texts[name]
        return result


def attribute_docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings below the attributes of a section and of its base classes, by attribute."""
    texts: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            texts |= _own_docstrings(base)
    return texts


def _own_docstrings(section: type[BaseModel]) -> dict[str, str]:
    try:
        source = inspect.getsource(section)
    except OSError:  # made by create_model
        return {}
    definition = ast.parse(dedent(source)).body[0]
    attributes = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        attribute.target.id: inspect.cleandoc(text.value.value)
        for attribute, text in pairwise(attributes)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }

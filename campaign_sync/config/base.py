"""The base class of all sections of the configuration."""

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """A frozen section that refuses unknown keys. Its errors never show values, which may be secrets."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, defer_build=True
    )

"""The base class of all sections of the configuration."""

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """A frozen section that refuses unknown keys. Its errors never show values, which may be secrets.

    The docstrings below its attributes describe them in the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

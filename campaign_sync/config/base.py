"""What all sections of the configuration have in common."""

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """Unknown keys are refused, nothing changes later, and no error shows what was written: it may be a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

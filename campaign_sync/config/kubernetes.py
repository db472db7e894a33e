"""The section `kubernetes` of a mandator: what the pods of its runs get, where runs are pods."""

import re
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from campaign_sync.config.base import ConfigModel

_SMALLEST_CPU = Decimal("0.001")
_SMALLEST_MEMORY = Decimal(128 * 1024**2)
_LONGEST_NAME = 253
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_QUANTITY = re.compile(rf"{_NUMBER}(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?[0-9]{{1,3}}))?")
_SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_FACTORS = {
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
    **{letter: Decimal(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{letter: Decimal(1000) ** -power for power, letter in enumerate("mun", start=1)},
}


def quantity_value(text: str) -> Decimal:
    """Return the number of cores or bytes that a quantity of Kubernetes means, like 0.5 for 500m.

    Raises:
        ValueError: it isn't a quantity.
    """
    parts = _QUANTITY.fullmatch(text)
    if parts is None:
        raise ValueError(
            "a quantity of Kubernetes is expected, like 500m or 1.5 for cpu, 512Mi or 4Gi for memory; units are "
            "spelled so, without a blank before them"
        )
    number, unit, exponent = parts.groups()
    return Decimal(number) * (_FACTORS[unit] if unit else Decimal(10) ** int(exponent or 0))


def _text(value: object) -> object:
    """Return a number of the file as the text that it was, for Kubernetes takes both."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _cpu(text: str) -> str:
    value = quantity_value(text)
    if value < _SMALLEST_CPU or value % _SMALLEST_CPU:
        raise ValueError("whole thousandths of a core are expected, at least 1m")
    return text


def _memory(text: str) -> str:
    if quantity_value(text) < _SMALLEST_MEMORY:
        raise ValueError("at least 128Mi is expected, for less no run begins; a number without a unit means bytes")
    return text


def _secret_name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not _SECRET_NAME.fullmatch(text):
        raise ValueError("the name of a Secret in the cluster is expected: lower-case letters, digits, - and .")
    return text


def _no_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a Secret is named twice; remove one of the two")
    return names


_QUANTITY_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": f"^{_QUANTITY.pattern}$"}, {"type": "number", "exclusiveMinimum": 0}]}
)

Cpu = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu), _QUANTITY_SCHEMA]
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_memory), _QUANTITY_SCHEMA]
SecretName = Annotated[str, AfterValidator(_secret_name)]


class ResourceQuantities(ConfigModel):
    """Amounts of what a node of a cluster shares out."""

    cpu: Cpu | None = None
    """Cores, as Kubernetes writes them: 500m is half of one."""
    memory: Memory | None = None
    """Bytes, as Kubernetes writes them: 4Gi."""

    def given(self) -> dict[str, str]:
        """Return the amounts that are named."""
        return {name: quantity for name, quantity in self if quantity is not None}


class KubernetesSettings(ConfigModel):
    """What each pod of a run gets. It has an effect where Dagster's launcher of runs is that of dagster-k8s."""

    requests: ResourceQuantities = ResourceQuantities()
    """What a node must have free; as much as the limit if left out."""
    limits: ResourceQuantities = ResourceQuantities()
    """What a run gets at most. One that takes more memory is killed, as by a crash of its machine."""
    secrets: Annotated[tuple[SecretName, ...], AfterValidator(_no_repetition)] = ()
    """Secrets of the cluster whose values are the pod's environment, and no others; those of all pods if left out."""

    @model_validator(mode="after")
    def _check_resources(self) -> Self:
        requests, limits = self.requests.given(), self.limits.given()
        for name, request in requests.items():
            if name in limits and quantity_value(request) > quantity_value(limits[name]):
                raise ValueError(
                    f"requests.{name} is more than limits.{name}, so Kubernetes would refuse every pod; raise the "
                    "limit, or lower the request"
                )
        if "memory" in requests and "memory" not in limits:
            raise ValueError(
                "requests.memory needs limits.memory: the limit of the launcher would hold, and be too low perhaps"
            )
        return self

"""Resources as parameters of assets, and the keys that they have in a code location."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import dagster as dg

from campaign_sync.orchestration.names import name_in_dagster

Result = TypeVar("Result")


def resource_key(name: str, *, prefix: str) -> str:
    """Return the key of a resource in a code location, like marketing_campaign_sync_crm for crm."""
    return name_in_dagster("campaign_sync", name, prefix=prefix)


def with_resources(prefix: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Let Dagster find the resources that a function has as parameters by their keys.

    Dagster takes the name of a parameter for the key, and keys begin with a prefix that isn't known before the
    configuration is read. The function gets those resources that it names, and can reach no others.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(function)
        keys = {
            name: resource_key(name, prefix=prefix) if _is_resource(parameter) else name
            for name, parameter in signature.parameters.items()
        }
        names = {key: name for name, key in keys.items()}

        def by_name(by_key: Mapping[str, Any]) -> dict[str, Any]:
            return {names[key]: value for key, value in by_key.items()}

        @wraps(function)
        def call(*arguments: Any, **by_key: Any) -> Any:
            return function(*arguments, **by_name(by_key))

        @wraps(function)
        def generate(*arguments: Any, **by_key: Any) -> Any:
            yield from function(*arguments, **by_name(by_key))  # type: ignore[misc]

        adapted = generate if inspect.isgeneratorfunction(function) else call
        parameters = [parameter.replace(name=keys[name]) for name, parameter in signature.parameters.items()]
        adapted.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return adapted

    return decorate


def _is_resource(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and issubclass(parameter.annotation, dg.ConfigurableResource)

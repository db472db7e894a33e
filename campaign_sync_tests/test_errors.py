"""All errors of the product are in one tree, which the docstring of its module draws."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import campaign_sync
from campaign_sync import errors
from campaign_sync.errors import CampaignSyncError


def exception_classes() -> Iterator[type[Exception]]:
    for module in pkgutil.walk_packages(campaign_sync.__path__, "campaign_sync."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.name:
                yield value


ERRORS = list(exception_classes())
"""Found while tests are collected: imports set environment variables."""


def tree(root: type[CampaignSyncError], depth: int = 1) -> Iterator[str]:
    for child in sorted(root.__subclasses__(), key=lambda error: error.__name__):
        if child.__module__.startswith("campaign_sync.") and child.__name__[0] != "_":
            retryable = "  [retryable]" if child.retryable else ""
            yield f"{'    ' * depth}{child.__name__}{retryable}"
            yield from tree(child, depth + 1)


def test_every_error_has_the_root() -> None:
    assert [error for error in ERRORS if not issubclass(error, CampaignSyncError)] == []


def test_the_docstring_draws_the_tree() -> None:
    expected = "\n".join(["```text", "CampaignSyncError", *tree(CampaignSyncError), "```"])
    assert expected in (errors.__doc__ or ""), expected

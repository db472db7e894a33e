"""Names of assets: the mandator and the kind, like `nord/newsletter_snapshot`, below a prefix if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self


class AssetKind(StrEnum):
    """The kinds of assets that a mandator has."""

    CONFIGURATION = "configuration"
    BOUNCES = "bounces"
    UNSUBSCRIBES = "unsubscribes"
    SUPPRESSION_STATE = "suppression_state"
    AUDIT = "audit"
    LIST_DRIFT = "list_drift"
    OPENS = "opens"
    CLICKS = "clicks"
    RESPONSES = "responses"
    REPORT = "report"
    SELECTION = "selection"
    SNAPSHOT = "snapshot"
    RECIPIENT_LIST = "recipient_list"
    PLAN = "plan"


LIST_CHAIN: Final = (AssetKind.SELECTION, AssetKind.SNAPSHOT, AssetKind.RECIPIENT_LIST)
"""The assets that lead to every recipient list, in their order."""

OF_LISTS: Final = (*LIST_CHAIN, AssetKind.PLAN)
"""The assets that every recipient list has. No other asset's name ends in one of these kinds."""


@dataclass(frozen=True)
class AssetName:
    """The name of an asset. `recipient_list` is None unless the kind is one of `OF_LISTS`; `prefix` may be empty."""

    mandator: str
    kind: AssetKind
    recipient_list: str | None = None
    prefix: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if (self.kind in OF_LISTS) != bool(self.recipient_list):
            raise ValueError(f"{self.kind} with the recipient list {self.recipient_list!r} is the name of no asset")

    @classmethod
    def parse(cls, path: Sequence[str]) -> Self:
        """Return the name with these two parts, or three with a prefix.

        Raises:
            ValueError: no asset of ours has this name.
        """
        *prefixes, mandator, last = path
        (prefix,) = prefixes or ("",)
        for kind in OF_LISTS:
            if last.endswith(f"_{kind}"):
                return cls(mandator, kind, last.removesuffix(f"_{kind}"), prefix=prefix)
        return cls(mandator, AssetKind(last), prefix=prefix)

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of its key in Dagster. The last one is unique within the mandator."""
        last = f"{self.recipient_list}_{self.kind}" if self.recipient_list else self.kind.value
        return (self.prefix, self.mandator, last) if self.prefix else (self.mandator, last)

    @property
    def page(self) -> str:
        """The path of the asset's page in Dagster's UI."""
        return f"/assets/{self}"

    def __str__(self) -> str:
        return "/".join(self.path)


def recipient_list_page(mandator: str, name: str, *, prefix: str = "") -> str:
    """Return the path of a recipient list's page in Dagster's UI."""
    return AssetName(mandator, AssetKind.RECIPIENT_LIST, name, prefix=prefix).page

"""What the template of a report's page shows: texts and charts in one language, ready to be printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from campaign_sync.domain.message import Language


@dataclass(frozen=True)
class Table:
    """A table of numbers; the first column names the rows."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A chart with its numbers, or only a sentence where there is nothing to draw."""

    title: str
    description: str
    chart: Markup | None = None
    table: Table | None = None
    legend: Sequence[tuple[str, str]] = ()
    """Colour and name of what is drawn; the colour `cross` marks interrupted replacements."""


@dataclass(frozen=True)
class Finding:
    """What a check found that failed or warns."""

    status: Literal["failed", "warning"]
    status_text: str
    title: str
    sentence: str
    """The check's own."""
    check: str
    """Its name in Dagster's UI."""


@dataclass(frozen=True)
class FindingGroup:
    """What checks of one run found."""

    title: str
    findings: Sequence[Finding]


@dataclass(frozen=True)
class ListCard:
    """The card of one list."""

    display_name: str
    page: str | None
    """The URL of its page in Dagster's UI."""
    status: str
    status_text: str
    people: str
    people_caption: str
    change: str
    facts: Sequence[tuple[str, str]]
    """Name and value."""
    findings: FindingGroup | None
    sizes: Figure
    joined: str
    left: str
    movement_text: str


@dataclass(frozen=True)
class Page:
    """The whole page."""

    language: Language
    check_language: Language
    """The language of what checks found."""
    title: str
    day: str
    made_at: str
    headline: str
    severity: Literal["good", "fair", "bad"]
    """The colour of the headline."""
    missing_lists: Sequence[str]
    """What is to be said of lists that the day planned, and that aren't there."""
    next_mailing: str
    contacts: str
    """Who to ask; empty if all lists are ready."""
    mailings: Table | None
    cards: Sequence[ListCard]
    feedback_findings: FindingGroup | None
    reasons: Sequence[Figure]
    """Why people aren't in the lists."""
    opt_outs: Sequence[Figure]
    proofs: Table
    terms: Sequence[tuple[str, str]]
    """Words of the page, and what they mean."""

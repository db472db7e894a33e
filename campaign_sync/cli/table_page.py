"""A page of tables for people: one HTML file without scripts that loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from campaign_sync.domain.message import Language, Message
from campaign_sync.localization.catalogs import translate
from campaign_sync.reports.templates import fill_template


@dataclass(frozen=True)
class PageTable:
    """A table: its headings, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class PageSection:
    """A heading with its tables."""

    title: str
    tables: Sequence[PageTable]
    kept: str = ""
    notes: Sequence[str] = ()


def table_page(
    title: str, introduction: Sequence[str], notes: Sequence[str], sections: Sequence[PageSection], language: Language
) -> str:
    """Return the page. Texts that are messages are translated.

    Args:
        title: of the page.
        introduction: paragraphs below it.
        notes: what has to be known before the page is used.
        sections: what follows.
        language: of the page.
    """

    def text(message: str) -> str:
        return translate(message, language)

    return fill_template(
        "table_page.html.j2",
        language=language,
        title=text(title),
        introduction=list(map(text, introduction)),
        notes=list(map(text, notes)),
        nothing=text(Message("nothing")),
        places=[
            PageSection(
                text(section.title),
                [
                    PageTable(list(map(text, table.columns)), [list(map(text, row)) for row in table.rows])
                    for table in section.tables
                ],
                text(section.kept),
                list(map(text, section.notes)),
            )
            for section in sections
        ],
    )

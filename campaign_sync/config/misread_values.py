"""Values of filters that YAML takes for something else than they seem: the country NO, the postal code 01067."""

import re
from collections.abc import Iterator

from campaign_sync.config.yaml_source import Document, Path

_UNAMBIGUOUS = re.compile(
    r"true|false|~|null||[-+]?\.(?:inf|nan)"
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9:.+Z -]+)?",
    re.IGNORECASE,
)
"""What people read as YAML 1.1 does."""


def find_misread_values(document: Document) -> Iterator[tuple[Path, str]]:
    """Yield every value of a filter that must be written in quotes, or without them in another way, and the reason."""
    for path, written in document.converted.items():
        if "filter" not in path or path[-1] in ("is null", "field", "entity_type") or _UNAMBIGUOUS.fullmatch(written):
            continue
        is_word = written.isalpha()
        yield (
            path,
            "YAML takes this word for true or false; put it in quotes"
            if is_word
            else "YAML takes this for another number than is written; put it in quotes as text, or write the number "
            "plainly: without a zero in front, underscores, colons or letters",
        )

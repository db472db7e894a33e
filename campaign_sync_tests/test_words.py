"""The sources are written in ordinary technical English, and name things instead of pointing at them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import campaign_sync

ROOT = Path(campaign_sync.__file__).parents[1]

BANNED_WORDS = frozenset(
    {"tell", "tells", "told", "telling", "untold", "hear", "hears", "heard", "mend", "mends", "mended", "mending"}
    | {"nobody", "somebody", "whoever"}
)
"""Neither in texts nor as a part of a name."""

BANNED_NAMES = frozenset(["one", "each", "some", "told", "found", "there", "here"])
"""Not as the name of a value: it says nothing about what the value is."""

BANNED_PHRASES = re.compile(
    r"\b(?:"
    + "|".join(
        [
            *sorted(BANNED_WORDS),
            r"so (?:long|many)",
            r"at it",
            r"stands",
            r"(?:take|takes|took|taken|taking) up",
            r"(?:break|breaks|broke|broken|breaking) off",
            r"(?:come|comes|came) to nothing",
            r"(?:a|the|its|last|fresh|next|each|every|first|second|another|one|this|that) looks?",
        ]
    )
    + r")\b",
    re.IGNORECASE,
)

PLACES = sorted(
    path
    for pattern in ("campaign_sync/*", "campaign_sync_tests/*", "docs/*", "*.md", ".github", "deploy")
    for path in ROOT.glob(pattern)
    if path != Path(__file__) and (path.is_dir() or path.suffix in {".py", ".md"}) and path.name[:2] != "__"
)


FORMER_KEYS = {
    ("CHANGELOG.md", "mend"),
    ("campaign_sync/config/automation.py", "mend"),
    ("campaign_sync_tests/test_automation_settings.py", "mend"),
    ("campaign_sync_tests/test_configuration.py", "mend"),
}
"""Former keys of the configuration that are still accepted, by the files that name them."""


def files(place: Path) -> list[Path]:
    """Return the sources of a place, without migrations: these name columns as they were."""
    paths = [place] if place.is_file() else place.rglob("*")
    return sorted(path for path in paths if path.suffix in {".py", ".md"} and path.parent.name != "versions")


def findings(path: Path) -> Iterator[str]:
    """Yield `line: what` for everything in a file that isn't allowed."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from _in_text(source, 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield from _in_text(token.string, token.start[0])
        elif token.type == tokenize.NAME and BANNED_WORDS & _words(token.string):
            yield f"{token.start[0]}: {token.string}"
    for node in ast.walk(ast.parse(source)):
        name = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
        is_bound = isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        if is_bound and name in BANNED_NAMES:
            assert isinstance(node, ast.arg | ast.Name)
            yield f"{node.lineno}: {name}"


def _in_text(text: str, line: int) -> Iterator[str]:
    for match in BANNED_PHRASES.finditer(text):
        yield f"{line + text.count(chr(10), 0, match.start())}: {match.group()}"


def _words(identifier: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


@pytest.mark.parametrize(
    "place",
    PLACES,
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_sources_are_in_plain_english(place: Path) -> None:
    flagged = [(str(path.relative_to(ROOT)), finding) for path in files(place) for finding in findings(path)]
    assert [(path, finding) for path, finding in flagged if (path, finding.split(": ")[1]) not in FORMER_KEYS] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("told = 1", ["1: told", "1: told"]),
        ("def hear_about(one): ...", ["1: hear_about", "1: one"]),
        ("class UntoldError: ...", ["1: UntoldError"]),
        ('"""Take up\nwhat broke off."""', ["2: broke off", "1: Take up"]),
        ("# a last look at it", ["1: last look", "1: at it"]),
        ("value = 'looks like a list, found here'", []),
    ],
)
def test_a_banned_word_is_found_wherever_it_is(tmp_path: Path, source: str, expected: list[str]) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"{source}\n")
    assert sorted(findings(file)) == sorted(expected)

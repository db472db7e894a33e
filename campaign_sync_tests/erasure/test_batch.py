"""The file of `campaign-sync erase --batch`."""

from pathlib import Path

import pytest

from campaign_sync.cli.erase import read_batch
from campaign_sync.cli.error_handling import CommandError


def test_a_batch_has_a_person_in_each_line(tmp_path: Path) -> None:
    file = tmp_path / "people.txt"
    file.write_text("\ufeff# of November\n\n Anna@Example.org \r\n  # and\ncontact:4711\nben@bücher.example\n", "utf-8")
    assert read_batch(file) == ["Anna@Example.org", "contact:4711", "ben@bücher.example"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"email;name\nanna@example.org;Anna\nben@example.org\n", "in each line, and nothing else; correct line 1, 2$"),
        (b"Anna <anna@example.org>\n", "correct line 1$"),
        (b"x\n" * 11, r"correct line 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 …$"),
        (b"# anna@example.org\n\n", "has no person in any line"),
        ("jörg@example.org".encode("latin-1"), "it isn't UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_batch_with_anything_else_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "people.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=problem) as caught:
        read_batch(file)
    assert "anna" not in str(caught.value)

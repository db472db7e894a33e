"""Patterns of `like`: `%` means any characters, `_` a single one, a backslash makes the next character literal."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from campaign_sync.domain.text import fold_case, normalize_text

_ESCAPED = re.compile(r"\\(.)|(%)|(_)|([^\\%_]+)", re.DOTALL)


class _Wildcard(Enum):
    CHARACTER = auto()
    CHARACTERS = auto()


@dataclass(frozen=True)
class LikePattern:
    """A pattern that is compared with whole texts, without regard to case.

    A character that folding turns into several (`ß` into `ss`) is a single one for `_`, and several: a text matches
    if it does in one of these forms, so whatever equals a matching text by its letters matches as well. An accent of
    its own after such a character (`ß` and U+0301) is a character for `_` and `%`, and part of the letter before it.
    """

    text: str

    @cached_property
    def mistake(self) -> str | None:
        """What is wrong with the pattern; None if nothing is."""
        matches = self._matches()
        if "".join(match[0] for match in matches) != normalize_text(self.text):
            return "a \\ at the end escapes nothing; write \\\\ for a backslash"
        if any(match[1] and match[1] not in "%_\\" for match in matches):
            return "a \\ escapes only %, _ and \\; write \\\\ for a backslash"
        return None

    def holds(self, text: str) -> bool:
        """Return whether a normalized text matches."""
        if self._expression.fullmatch(fold_case(text)) is not None:
            return True
        if text.isascii():
            return False
        letters = [fold_case(character) for character in text]
        folded = "".join(letters)
        return (len(folded) > len(letters) or folded != fold_case(text)) and self._holds_by_character(letters)

    @cached_property
    def _parts(self) -> tuple[str | _Wildcard, ...]:
        """The characters, each folded by itself, and wildcards."""
        return self._parsed(lambda literal: "".join(map(fold_case, literal)))

    def _parsed(self, fold: Callable[[str], str]) -> tuple[str | _Wildcard, ...]:
        return tuple(
            part
            for match in self._matches()
            for part in (
                [_Wildcard.CHARACTERS]
                if match[2]
                else [_Wildcard.CHARACTER]
                if match[3]
                else fold(match[1] or match[4])
            )
        )

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("".join(self._segments()), re.DOTALL)

    def _matches(self) -> list[re.Match[str]]:
        return list(_ESCAPED.finditer(normalize_text(self.text)))

    def _segments(self) -> Iterator[str]:
        """Yield the parts of the pattern as regular expressions.

        What follows a `%` is searched for once, from the left, except at the end: the time stays proportional to the
        text.
        """
        segments = [""]
        for part in self._parsed(fold_case):
            if part is _Wildcard.CHARACTERS:
                segments.append("")
            else:
                segments[-1] += "." if isinstance(part, _Wildcard) else re.escape(part)
        first, *others = segments
        yield first
        for segment in others[:-1]:
            yield f"(?>.*?{segment})"
        if others:
            yield f".*{others[-1]}"

    def _holds_by_character(self, letters: list[str]) -> bool:
        """Return whether a text matches, where `_` is all letters of a character or any of them.

        Args:
            letters: per character of the text what folding turns it into.
        """
        folded = "".join(letters)
        reached: list[set[int]] = [set() for _ in range(len(folded) + 1)]
        reached[0] = self._with_skipped(0)
        ends = _ends(letters)
        for place, letter in enumerate(folded):
            for number in reached[place]:
                part = self._parts[number] if number < len(self._parts) else None
                if part is _Wildcard.CHARACTERS:
                    reached[place + 1] |= self._with_skipped(number)
                elif part is _Wildcard.CHARACTER:
                    for end in {place + 1, ends.get(place, place + 1)}:
                        reached[end] |= self._with_skipped(number + 1)
                elif part == letter:
                    reached[place + 1] |= self._with_skipped(number + 1)
        return len(self._parts) in reached[-1]

    def _with_skipped(self, number: int) -> set[int]:
        """Return the number of a part, and those that may follow at the same place because `%` may be empty."""
        numbers = {number}
        while number < len(self._parts) and self._parts[number] is _Wildcard.CHARACTERS:
            number += 1
            numbers.add(number)
        return numbers


def _ends(letters: list[str]) -> dict[int, int]:
    """Return where each character ends in the folded text, by where it begins."""
    ends, place = {}, 0
    for folded in letters:
        end = place + len(folded)
        ends[place] = end
        place = end
    return ends

"""The text of files that can't be read as rows, in whatever encoding, packed or not; and such files without people."""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from campaign_sync.delivered_files.csv_decoder import GZIP_MAGIC
from campaign_sync.delivered_files.file_source import MAX_BYTES
from campaign_sync.domain.address import POSSIBLE_ADDRESS
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.erasure import Erased

_LETTERS = re.compile(r"[^\W\d_]+")

_WORDS = re.compile(r"[\w-]+")

_ENCODINGS = (
    ("utf-8", "surrogateescape", 1),
    ("cp1252", "surrogateescape", 1),
    ("cp850", "strict", 1),
    ("mac-roman", "strict", 1),
    ("utf-16-le", "surrogatepass", 2),
    ("utf-16-be", "surrogatepass", 2),
    ("utf-32-le", "strict", 4),
    ("utf-32-be", "strict", 4),
)
"""How a file may be encoded: name, how it treats what isn't text, and the bytes of a letter. Encodings of one byte a
letter that aren't among these have the same ASCII and the same umlauts as one of them."""

_PIECE_BYTES = 1024
"""How much is unpacked at a time: where a packed file is damaged, at most this is lost of what comes before."""

_TRAILER_BYTES = 8
"""Of gzip. A file without them counts as cut off."""


@dataclass(frozen=True)
class HiddenText:
    """A file without erased people."""

    content: bytes
    tokens: Sequence[tuple[int, str]]
    """The numbers of the lines that were about erased people, each with a token of the person."""
    is_searched: bool = True
    """Whether all of the file could be searched, unlike one that is packed, and cut off or damaged."""


class _Plain(NamedTuple):
    """What can be unpacked of a file that is packed; of another one its content."""

    content: bytes
    is_whole: bool = True
    """Whether the file isn't cut off either."""
    is_damaged: bool = False
    """Whether it may say more, or something else. What is damaged may look as if it were cut off, and the other way
    round; only one without the check sum at its end is known to be searchable all the same."""


def texts(content: bytes) -> Iterator[str]:
    """Yield what a file may say, in every encoding that it may have."""
    plain = _unpacked(content).content
    for encoding, errors, width in _ENCODINGS:
        text = _decoded(plain[: len(plain) - len(plain) % width], encoding, errors)
        if text is not None:
            yield text


def is_searchable(content: bytes) -> bool:
    """Return whether `texts` has all that a file may say, unlike of one that is packed, and cut off or damaged."""
    return not _unpacked(content).is_damaged


def without_damage(content: bytes) -> bytes:
    """Return a file without what can't be unpacked of it, and so can't be searched. It stays one that can't be read."""
    plain = _unpacked(content)
    return _packed(plain.content, is_whole=False) if plain.is_damaged else content


def hide_people(content: bytes, erased: Erased) -> HiddenText:
    """Return a file that can't be read as rows, with the lines about erased people blanked.

    In such a line a token replaces the person's address, every other letter but those of other addresses becomes an
    `x`, and so do the ids of their records: what separates its cells stays. A packed file is packed again, and stays
    cut off, without its check sum, if it was, or if it was damaged; what can't be unpacked of it goes.
    """
    plain, is_whole, is_damaged = _unpacked(content)
    tokens: list[tuple[int, str]] = []
    for encoding, errors, width in _ENCODINGS if erased else ():
        end = len(plain) - len(plain) % width
        text = _decoded(plain[:end], encoding, errors)
        lines = text.splitlines(keepends=True) if text else []
        named = [(number, token) for number, line in enumerate(lines) if (token := _first_token(line, erased))]
        for number, _ in named:
            lines[number] = _hidden_line(lines[number], erased)
        if named:
            plain = "".join(lines).encode(encoding, errors) + plain[end:]
            tokens += named
    if not tokens:
        return HiddenText(content, (), not is_damaged)
    return HiddenText(_packed(plain, is_whole=is_whole) if content.startswith(GZIP_MAGIC) else plain, tokens)


def _packed(plain: bytes, *, is_whole: bool) -> bytes:
    packed = gzip.compress(plain, mtime=0)
    return packed if is_whole else packed[:-_TRAILER_BYTES]


def _decoded(content: bytes, encoding: str, errors: str) -> str | None:
    try:
        return content.decode(encoding, errors)
    except UnicodeDecodeError:
        return None


def _unpacked(content: bytes) -> _Plain:
    """Return a file as it is or, of one that is packed, what can be unpacked."""
    if not content.startswith(GZIP_MAGIC):
        return _Plain(content)
    plain, unpacker = bytearray(), zlib.decompressobj(wbits=31)
    for start in range(0, len(content), _PIECE_BYTES):
        rest = content[start : start + _PIECE_BYTES]
        try:
            while rest:
                if unpacker.eof:  # several packed files, one after the other
                    unpacker = zlib.decompressobj(wbits=31)
                plain += unpacker.decompress(rest)
                rest = unpacker.unused_data
        except zlib.error:
            return _Plain(bytes(plain), is_whole=False, is_damaged=True)
        if len(plain) > MAX_BYTES:
            return _Plain(bytes(plain), is_whole=False, is_damaged=True)
    unpacked = bytes(plain)
    return _Plain(unpacked, unpacker.eof, not unpacker.eof and not _lacks_trailer(unpacker, unpacked))


def _lacks_trailer(unpacker: "zlib._Decompress", plain: bytes) -> bool:
    """Return whether only the trailer, or a part of it, is missing of a packed file: then everything was unpacked."""
    trailer = struct.pack("<II", zlib.crc32(plain), len(plain) % 2**32)
    for start in range(_TRAILER_BYTES):
        rest = unpacker.copy()
        with suppress(zlib.error):
            rest.decompress(trailer[start:])
            if rest.eof:
                return True
    return False


def _first_token(line: str, erased: Erased) -> str | None:
    """Return a token of the first erased person that a line names; None if it names none."""
    if "@" in line:
        for candidate in (line.strip(), *POSSIBLE_ADDRESS.findall(line)):
            if token := erased.token_of(candidate):
                return token
    words = _WORDS.findall(line)
    for kind in {word.lower() for word in words} & set(EntityType):
        for word in words:
            record = f"{kind}:{word}"
            if (token := erased.record_token(record)) != record:
                return token
    return None


def _hidden_line(line: str, erased: Erased) -> str:
    parts, end = [], 0
    for match in POSSIBLE_ADDRESS.finditer(line):
        parts += [_hidden_words(line[end : match.start()], erased), erased.token_of(match[0]) or match[0]]
        end = match.end()
    return "".join([*parts, _hidden_words(line[end:], erased)])


def _hidden_words(text: str, erased: Erased) -> str:
    without_ids = _WORDS.sub(lambda word: "x" * len(word[0]) if erased.is_id(word[0]) else word[0], text)
    return _LETTERS.sub(lambda letters: "x" * len(letters[0]), without_ids)

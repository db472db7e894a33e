"""The text of files that can't be read as rows, in whatever encoding, packed or not; and such files without people."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign_sync.delivered_files.csv_decoder import GZIP_MAGIC
from campaign_sync.delivered_files.file_source import MAX_BYTES
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.erasure import Erased

POSSIBLE_ADDRESS = re.compile(r"[^\s@,;:\"'<>()\[\]|\\=\0]+@[^\s@,;:\"'<>()\[\]|\\=\0]+")
"""What may be an address within other text, such as the answer of a mail server."""

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


def texts(content: bytes) -> Iterator[str]:
    """Yield what a file may say, in every encoding that it may have."""
    plain, _ = _unpacked(content)
    for encoding, errors, width in _ENCODINGS:
        text = _decoded(plain[: len(plain) - len(plain) % width], encoding, errors)
        if text is not None:
            yield text


def hide_people(content: bytes, erased: Erased) -> HiddenText:
    """Return a file that can't be read as rows, with the lines about erased people blanked.

    In such a line a token replaces the person's address, every other letter but those of other addresses becomes an
    `x`, and so do the ids of their records: what separates its cells stays. A packed file is packed again, and stays
    cut off if it was; what can't be unpacked of it goes.
    """
    plain, is_whole = _unpacked(content)
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
        return HiddenText(content, ())
    if content.startswith(GZIP_MAGIC):
        packed = gzip.compress(plain, mtime=0)
        plain = packed if is_whole else packed[:-_TRAILER_BYTES]
    return HiddenText(plain, tokens)


def _decoded(content: bytes, encoding: str, errors: str) -> str | None:
    try:
        return content.decode(encoding, errors)
    except UnicodeDecodeError:
        return None


def _unpacked(content: bytes) -> tuple[bytes, bool]:
    """Return a file as it is or, of one that is packed, what can be unpacked; and whether that is all of it."""
    if not content.startswith(GZIP_MAGIC):
        return content, True
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
            return bytes(plain), False
        if len(plain) > MAX_BYTES:
            return bytes(plain), False
    return bytes(plain), unpacker.eof


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

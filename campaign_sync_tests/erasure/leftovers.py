"""The search for an erased person in every byte that an installation has written."""

import base64
import hashlib
import io
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq

THEIRS = ("crm.db", "vendor.db")
"""What belongs to the CRM and the vendor."""


def leftovers(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return in which files texts about a person are found, in any encoding, case or plain hash."""
    hits: list[str] = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(THEIRS):
            hits += found_in(str(file.relative_to(folder)), file.read_bytes(), texts)
            if file.suffix in {".db", ".sqlite"}:
                with closing(sqlite3.connect(file)) as connection:
                    hits += found_in(file.name, "\n".join(connection.iterdump()).encode(), texts)
    return hits


def found_in(name: str, content: bytes, texts: Sequence[str]) -> list[str]:
    """Return what of these texts is found in a file or in its name."""
    needles = {needle for text in texts for needle in _needles(text)}
    readings = [name.encode(), content]
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(content))
        readings.append(repr((table.schema.metadata, table.to_pydict())).encode())
    lowered = [reading.lower() for reading in readings]
    return sorted(f"{name}: {needle!r}" for needle in needles if any(needle in reading for reading in lowered))


def _needles(text: str) -> Iterator[bytes]:
    forms = {text, text.lower(), text.upper()}
    for form in forms:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            yield form.encode(encoding).lower()
        yield quote(form).encode().lower()
        yield base64.b64encode(form.encode())[:-4].lower()
        for algorithm in ("md5", "sha1", "sha256"):
            digest = hashlib.new(algorithm, form.encode())
            yield digest.hexdigest().encode()
            yield digest.digest().lower()

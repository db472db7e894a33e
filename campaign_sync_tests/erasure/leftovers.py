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
    needles = {needle for text in texts for needle in _needles(text)}
    hits = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.name.startswith(THEIRS):
            continue
        name = str(file.relative_to(folder))
        for content in (name.encode(), file.read_bytes(), *_decoded(file)):
            lowered = content.lower()
            hits += [f"{name}: {needle!r}" for needle in needles if needle in lowered]
    return sorted(set(hits))


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


def _decoded(file: Path) -> Iterator[bytes]:
    if file.suffix == ".parquet":
        table = pq.read_table(io.BytesIO(file.read_bytes()))
        yield repr((table.schema.metadata, table.to_pydict())).encode()
    elif file.suffix in {".db", ".sqlite"}:
        with closing(sqlite3.connect(file)) as connection:
            yield "\n".join(connection.iterdump()).encode()

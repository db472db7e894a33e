"""An index of the snapshots: which of them have a recipient, by keyed hashes. It can be lost at any time."""

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from campaign_sync.domain.recipient import RECIPIENT_ID
from campaign_sync.storage.expired_files import SENT_PEOPLE
from campaign_sync.storage.files import FileStorage, FileStorageError, LostFileError, release_memory
from campaign_sync.storage.replacement_history import SentList

KEPT = timedelta(days=180)
"""How long before the newest snapshot an index remembers one that isn't asked for: twice the time that unsubscribes
are attributed over."""

_PROBE = "a text whose hash shows by which key the others were made"

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class SentPeople:
    """Which recipients each snapshot of one recipient list has.

    It never denies a recipient whom a snapshot has. That a snapshot has someone must be seen in the snapshot: two
    recipients can share a hash.
    """

    snapshots: Mapping[str, datetime]
    """When each of them was sent, by the digest of its file, in the order of the bits."""
    people: _Hashes
    """The hashes of all recipients, sorted."""
    bits: NDArray[np.uint8]
    """For each of them a row of bits, the lowest first: whether the snapshot has them."""

    @classmethod
    def empty(cls) -> "SentPeople":
        """Return an index of no snapshots."""
        return cls({}, np.empty(0, np.uint64), np.empty((0, 0), np.uint8))

    def having(self, people: _Hashes, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return for each hash, in a row, which of these snapshots may have it."""
        order = {digest: position for position, digest in enumerate(self.snapshots)}
        having = np.zeros((len(people), len(digests)), bool)
        known = np.flatnonzero(self._has(people))
        if len(known) and len(digests):
            unpacked = np.unpackbits(self.bits[np.searchsorted(self.people, people[known])], axis=1, bitorder="little")
            having[known] = unpacked[:, [order[digest] for digest in digests]]
        return having

    def _has(self, people: _Hashes) -> NDArray[np.bool_]:
        positions = np.searchsorted(self.people, people)
        has = positions < len(self.people)
        has[has] = self.people[positions[has]] == people[has]
        return has

    def with_snapshot(self, digest: str, sent_at: datetime, people: _Hashes) -> "SentPeople":
        """Return the index with a further snapshot that has these hashes."""
        byte, bit = divmod(len(self.snapshots), 8)
        missing = np.unique(people[~self._has(people)])
        everyone = np.insert(self.people, np.searchsorted(self.people, missing), missing)
        bits = np.zeros((len(everyone), byte + 1), np.uint8)
        bits[np.searchsorted(everyone, self.people), : self.bits.shape[1]] = self.bits
        bits[np.searchsorted(everyone, people), byte] |= np.uint8(1 << bit)
        return SentPeople({**self.snapshots, digest: sent_at}, everyone, bits)

    def without_old(self, asked: Mapping[str, datetime]) -> "SentPeople":
        """Return the index without old snapshots that aren't asked for, and without the people of these alone."""
        newest = max([*self.snapshots.values(), *asked.values()])
        is_kept = [digest in asked or sent_at >= newest - KEPT for digest, sent_at in self.snapshots.items()]
        if all(is_kept):
            return self
        unpacked = np.unpackbits(self.bits, axis=1, bitorder="little")[:, np.flatnonzero(is_kept)]
        has_any = unpacked.any(axis=1)
        kept = {digest: at for (digest, at), stays in zip(self.snapshots.items(), is_kept, strict=True) if stays}
        return SentPeople(kept, self.people[has_any], np.packbits(unpacked[has_any], axis=1, bitorder="little"))

    def to_parquet(self, probe: int) -> bytes:
        """Return the content of a file. `probe` is the hash of `_PROBE`."""
        from pyarrow import parquet  # here and below: for runs alone

        about = {
            "probe": str(probe),
            "snapshots": json.dumps([[digest, at.isoformat()] for digest, at in self.snapshots.items()]),
        }
        width = self.bits.shape[1]
        rows = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(self.people), [None, pa.py_buffer(np.ascontiguousarray(self.bits))]
        )
        table = pa.table({"person": pa.array(self.people), "snapshots": rows}).replace_schema_metadata(about)
        content = io.BytesIO()
        parquet.write_table(table, content, compression="zstd", use_dictionary=False)
        return content.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, probe: int) -> "SentPeople":
        """Return the index in a file; an empty one where its hashes were made by another key."""
        from pyarrow import parquet

        table = parquet.read_table(io.BytesIO(content)).combine_chunks()
        about = table.schema.metadata
        if about[b"probe"] != str(probe).encode():
            return cls.empty()
        snapshots = {digest: datetime.fromisoformat(at) for digest, at in json.loads(about[b"snapshots"])}
        people = table["person"].to_numpy()
        width = table.schema.field("snapshots").type.byte_width
        bits = [
            np.frombuffer(rows.buffers()[1], np.uint8, len(rows) * width, rows.offset * width).reshape(-1, width)
            for rows in table["snapshots"].chunks
            if len(rows)
        ]
        return cls(snapshots, people, np.concatenate(bits) if bits else np.empty((0, width), np.uint8))


class SentPeopleIndex:
    """The index of each recipient list of a mandator, kept in the file storage beside the snapshots.

    What an index lacks is read from the snapshots and added. A file that is gone or damaged, or whose hashes were made
    by another key, is made again in this way.

    Args:
        mandator: a key of the configuration.
        frames: the storage of snapshots and index.
        key: the result of `Pseudonyms.derived_key`.
    """

    def __init__(self, mandator: str, frames: FileStorage, key: str) -> None:
        self._mandator, self._frames, self._key = mandator, frames, key
        self._probe = int(self.hashes([_PROBE])[0])

    def hashes(self, recipient_ids: Sequence[str]) -> _Hashes:
        """Return the keyed hashes of recipient ids."""
        ids = np.array([recipient_id.encode("utf-8", "surrogatepass") for recipient_id in recipient_ids], dtype=object)
        return pd.util.hash_array(ids, hash_key=self._key, categorize=False)

    def of_list(self, recipient_list_id: int, sent: Sequence[SentList]) -> SentPeople:
        """Return the index of a recipient list with these snapshots, except those whose files are gone.

        Raises:
            FileStorageError: the storage can't be read now.
        """
        folder = f"{SENT_PEOPLE}/{self._mandator}/{recipient_list_id}"
        content = self._frames.read_cached(folder)
        before = index = SentPeople.from_parquet(content, self._probe) if content else SentPeople.empty()
        asked = {entry.digest: entry.started_at for entry in sent}
        for entry in sent:
            if entry.digest in index.snapshots:
                continue
            try:
                rows = self._frames.read_frame(entry.file, entry.digest, [RECIPIENT_ID])
            except LostFileError:
                continue
            index = index.with_snapshot(entry.digest, entry.started_at, self.hashes(rows[RECIPIENT_ID].tolist()))
        if index is not before:
            index = index.without_old(asked)
            with suppress(FileStorageError):  # the next import makes it again
                newest = max(index.snapshots.values())
                self._frames.write_cached(folder, newest, index.to_parquet(self._probe))
        release_memory()
        return index


def decisive(
    having: NDArray[np.bool_],
    sent_at: NDArray[np.int64],
    asked: tuple[NDArray[np.intp], NDArray[np.int64]],
    shifts: Sequence[int],
) -> list[tuple[int, NDArray[np.intp]]]:
    """Return which snapshots of a list decide where recipients were at some moments: the newest that has them.

    Args:
        having: for each recipient, in a row, which snapshots have them.
        sent_at: when each snapshot was sent, oldest first.
        asked: the rows of recipients, and for each the moment.
        shifts: what is added to the moments: the answer is about all of these.

    Returns:
        The positions of snapshots, each with the rows of the recipients whom it decides about.
    """
    is_known: NDArray[np.bool_] = np.any(having, axis=1)
    rows, moments = asked
    counts = is_known[rows]
    rows, moments = rows[counts], moments[counts]
    if not len(rows):
        return []
    known = np.flatnonzero(is_known)
    newest = np.maximum.accumulate(np.where(having[known], np.arange(len(sent_at), dtype=np.int32), -1), axis=1)
    in_newest = np.searchsorted(known, rows)
    decided: list[NDArray[np.int64]] = []
    for shift in shifts:
        last = np.searchsorted(sent_at, moments + shift, side="right") - 1
        position = np.where(last >= 0, newest[in_newest, last], -1)
        decided.append((position * np.int64(len(having)) + rows)[position >= 0])
    positions, recipients = np.divmod(np.unique(np.concatenate(decided)), len(having))
    return [(int(position), recipients[positions == position]) for position in np.unique(positions)]

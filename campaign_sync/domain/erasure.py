"""Erased people: known by keyed hashes only, so that they stay suppressed without being stored."""

import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple, Self

import pandas as pd

from campaign_sync.domain.address import POSSIBLE_ADDRESS, former_recipient_id, usable_address
from campaign_sync.domain.arrow_text import iter_chunks
from campaign_sync.domain.entity import EntityType
from campaign_sync.domain.instant import CLOCK_TOLERANCE

KEY_LENGTH: Final = 32
"""How many characters the configured key has at least."""

ERASED_TYPE: Final = "erased"
"""The type of the record of an erased person; its id is the hash."""

_DOMAIN: Final = "@erased.invalid"
"""The domain of what replaces the address of an erased person: a form that every reader of addresses accepts, at a
domain that will never exist (RFC 2606)."""

_DIGEST_BYTES = 16


class SubjectKind(StrEnum):
    """What a hash was made of."""

    ADDRESS = "address"
    RECORD = "record"
    PSEUDONYM = "pseudonym"
    """What the state database has in place of an address or a record, by its own key."""


class Subject(NamedTuple):
    """The keyed hash of an address, a CRM record or a pseudonym of an erased person."""

    kind: SubjectKind
    digest: str
    """32 hexadecimal characters."""


class ErasureKey:
    """Makes the hashes of erased people. They can be compared only with the same key.

    HMAC-SHA-256 of the standard library, whose values never change; each purpose has a key derived from the secret.

    Args:
        secret: the configured key, which is stored with no hash.

    Raises:
        ValueError: it is too short.
    """

    def __init__(self, secret: str) -> None:
        if len(secret) < KEY_LENGTH:
            raise ValueError(f"the key of erasures has at least {KEY_LENGTH} characters")
        self._hmacs = {purpose: _derived(secret, purpose) for purpose in (*SubjectKind, "probe", "digests")}

    @property
    def probe(self) -> str:
        """The hash of a constant, by which another key is recognized."""
        return self._digest("probe", "")

    @property
    def of_digests(self) -> bytes:
        """A key of `KeyedDigests`."""
        return self._hmacs["digests"].digest()

    def of_address(self, address: str) -> str:
        """Return the hash of a recipient id, as `domain.address` normalizes it."""
        return self._digest(SubjectKind.ADDRESS, address)

    def of_record(self, key: str) -> str:
        """Return the hash of a record by its text form `entity_type:entity_id`."""
        return self._digest(SubjectKind.RECORD, key)

    def of_pseudonym(self, pseudonym: str) -> str:
        """Return the hash of what the state database has in place of an address or a record."""
        return self._digest(SubjectKind.PSEUDONYM, pseudonym)

    def subjects(
        self, emails: Iterable[str], records: Iterable[str], pseudonyms: Iterable[str] = ()
    ) -> frozenset[Subject]:
        """Return the hashes of a person: of all recipient ids that the addresses have or had, and of the records.

        Args:
            emails: addresses as the CRM or a list has them.
            records: `entity_type:entity_id`.
            pseudonyms: those of both in the state database.
        """
        ids = {form for email in emails for form in (usable_address(email), former_recipient_id(email)) if form}
        return frozenset(
            {
                *(Subject(SubjectKind.ADDRESS, self.of_address(recipient_id)) for recipient_id in ids),
                *(Subject(SubjectKind.RECORD, self.of_record(record)) for record in records),
                *(Subject(SubjectKind.PSEUDONYM, self.of_pseudonym(pseudonym)) for pseudonym in pseudonyms),
            }
        )

    def digests(self, kind: SubjectKind, values: Iterable[str | None]) -> Iterator[bytes | None]:
        """Yield the hash of each value, as bytes; None for None."""
        copy = self._hmacs[kind].copy  # there may be millions, as in `domain.pseudonym`
        for value in values:
            if value is None:
                yield None
                continue
            keyed = copy()
            keyed.update(value.encode("utf-8", "surrogatepass"))
            yield keyed.digest()[:_DIGEST_BYTES]

    def _digest(self, purpose: str, value: str) -> str:
        keyed = self._hmacs[purpose].copy()
        keyed.update(value.encode("utf-8", "surrogatepass"))
        return keyed.digest()[:_DIGEST_BYTES].hex()


def _derived(secret: str, purpose: str) -> hmac.HMAC:
    key = hmac.digest(secret.encode("utf-8", "surrogatepass"), f"campaign_sync erasure {purpose}".encode(), "sha256")
    return hmac.new(key, digestmod="sha256")


@dataclass(frozen=True)
class Erasure:
    """The erasure of one person."""

    id: str
    erased_at: datetime
    """UTC, by our clock."""
    asked_by: str
    reason: str
    """Of the person who asked for it. It contains no personal data."""
    probe: str
    """`ErasureKey.probe` of the key that the hashes were made with."""
    subjects: frozenset[Subject]

    @property
    def until(self) -> datetime:
        """Consents that aren't newer than this count no more.

        The CRM dates them by its own clock, which may be fast: a consent of before the erasure looks newer then.
        """
        return self.erased_at + CLOCK_TOLERANCE


@dataclass(frozen=True)
class Erased:
    """Everybody who was erased."""

    key: ErasureKey | None = None
    times: Mapping[str, pd.Timestamp] = field(default_factory=dict)
    """When they were erased last, by the token of an address or a record. Consents end at `until`."""

    @classmethod
    def of(cls, key: ErasureKey, erasures: Iterable[Erasure]) -> Self:
        """Return everybody whom these erasures are about."""
        times: dict[str, pd.Timestamp] = {}
        for erasure in erasures:
            at = pd.Timestamp(erasure.erased_at).as_unit("us")
            for subject in erasure.subjects:
                if subject.kind is SubjectKind.PSEUDONYM:
                    continue
                token = _token(*subject)
                times[token] = max(at, times.get(token, at))
        return cls(key, times)

    def __bool__(self) -> bool:
        return bool(self.times)

    def at(self, *, address: str | None = None, record: str | None = None) -> datetime | None:
        """Return when an address or a record was erased last; None if neither was.

        Args:
            address: normalized.
            record: `entity_type:entity_id`.
        """
        tokens = [self.address_token(address or ""), self.record_token(record or "")]
        times = [self.times[token] for token in tokens if token in self.times]
        return max(times).to_pydatetime() if times else None

    def ends(self, consent_at: datetime, address: str, record: str) -> bool:
        """Return whether a consent of this time counts no more, as its address or record was erased since."""
        erased_at = self.at(address=address, record=record) if self.times else None
        return erased_at is not None and consent_at <= erased_at + CLOCK_TOLERANCE

    def address_token(self, address: str) -> str:
        """Return what replaces an address: its token if it was erased, else the address."""
        if not self.times or self.key is None:
            return address
        token = _token(SubjectKind.ADDRESS, self.key.of_address(address))
        return token if token in self.times else address

    def record_token(self, record: str) -> str:
        """Return what replaces a record `entity_type:entity_id`: its token if it was erased, else the record."""
        if not self.times or self.key is None:
            return record
        token = _token(SubjectKind.RECORD, self.key.of_record(record))
        return token if token in self.times else record

    def address_tokens(self, addresses: "pd.Series[str]") -> "pd.Series[str]":
        """Return `address_token` of every address; missing ones stay missing."""
        return self._tokens(SubjectKind.ADDRESS, addresses)

    def record_tokens(self, records: "pd.Series[str]") -> "pd.Series[str]":
        """Return `record_token` of every record; missing ones stay missing."""
        return self._tokens(SubjectKind.RECORD, records)

    def _tokens(self, kind: SubjectKind, column: "pd.Series[str]") -> "pd.Series[str]":
        if not self.times or self.key is None:
            return column
        tokens: dict[int, str] = {}
        start = 0
        for chunk in iter_chunks(column):
            digests = self.key.digests(kind, chunk.to_pylist())
            tokens |= {
                position: self._known[kind][digest]
                for position, digest in enumerate(digests, start)
                if digest in self._known[kind]
            }
            start += len(chunk)
        if not tokens:
            return column
        replaced = column.astype("str").copy()
        replaced.iloc[list(tokens)] = pd.Index(list(tokens.values()), dtype="str")
        return replaced

    @cached_property
    def until(self) -> Mapping[str, pd.Timestamp]:
        """Up to when consents and events are of the erased person, by token. See `Erasure.until`."""
        return {token: erased_at + CLOCK_TOLERANCE for token, erased_at in self.times.items()}

    @cached_property
    def _known(self) -> dict[SubjectKind, dict[bytes | None, str]]:
        """The tokens by what `ErasureKey.digests` returns."""
        known: dict[SubjectKind, dict[bytes | None, str]] = {kind: {} for kind in SubjectKind}
        for token in self.times:
            kind = SubjectKind.ADDRESS if is_token(token) else SubjectKind.RECORD
            digest = token.removesuffix(_DOMAIN).removeprefix(f"{ERASED_TYPE}:")
            known[kind][bytes.fromhex(digest)] = token
        return known

    def rejected_record(self, record: str) -> str:
        """Return the `entity_type:entity_id` by which a rejection would name a record that was erased.

        It has the hash as its id; without any erasure it is the record itself.
        """
        kind = record.partition(":")[0]
        return f"{kind}:{self.key.of_record(record)}" if self.times and self.key else record

    def hide_cells(self, row: Sequence[str | None], read: Collection[int]) -> Sequence[str | None]:
        """Return a row of the vendor's with tokens for addresses of erased people.

        Of a row with any, ids of erased records are removed as well, and texts in columns that aren't read.

        Args:
            row: as received.
            read: the positions of the columns that are read; none if unknown.
        """
        cells = [self.hide_addresses(cell) if cell and "@" in cell else cell for cell in row]
        if cells == list(row):
            return row
        return [
            None if cell and cell == before and self._names_person(cell, is_read=position in read or not read) else cell
            for position, (cell, before) in enumerate(zip(cells, row, strict=True))
        ]

    def hide_addresses(self, text: str) -> str:
        """Return a text with tokens for the addresses of erased people in it."""
        return self.token_of(text) or POSSIBLE_ADDRESS.sub(lambda match: self.token_of(match[0]) or match[0], text)

    def token_of(self, text: str) -> str | None:
        """Return the token of an address in any spelling; None if it wasn't erased, or the text isn't an address."""
        forms = filter(None, (usable_address(text), former_recipient_id(text)))
        return next((token for form in forms if (token := self.address_token(form)) != form), None)

    def _names_person(self, cell: str, *, is_read: bool) -> bool:
        is_text = not is_read and any(letter.isalpha() for letter in cell)
        return is_text or self.is_id(cell.strip())

    def is_id(self, text: str) -> bool:
        """Return whether a text is the id of an erased record, of whatever type."""
        return any(self.record_token(f"{kind}:{text}") in self.times for kind in EntityType)

    def hide(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame with columns `address`, `entity_type` and `entity_id`, with tokens for erased people.

        An erased record has `ERASED_TYPE` as its type and the hash as its id, so that its text form is its token.
        """
        if not self.times:
            return frame
        records = frame["entity_type"].astype("str") + ":" + frame["entity_id"].astype("str")
        tokens = self.record_tokens(records)
        prefix = f"{ERASED_TYPE}:"
        is_erased = tokens.str.startswith(prefix).fillna(value=False).to_numpy(dtype=bool)
        digests = tokens.str.removeprefix(prefix)
        return frame.assign(
            address=self.address_tokens(frame["address"]),
            entity_type=frame["entity_type"].mask(is_erased, ERASED_TYPE).astype("str"),
            entity_id=frame["entity_id"].mask(is_erased, digests).astype("str"),
        )


NO_ERASURES: Final = Erased()
"""No erasure at all."""


def _token(kind: SubjectKind, digest: str) -> str:
    return digest + _DOMAIN if kind is SubjectKind.ADDRESS else f"{ERASED_TYPE}:{digest}"


def is_token(address: str) -> bool:
    """Return whether a text is the token of an erased person's address."""
    return address.endswith(_DOMAIN)

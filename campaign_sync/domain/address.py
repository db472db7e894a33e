"""Normalization of e-mail addresses, which are also the recipient ids."""

import re
import unicodedata
from functools import lru_cache

import idna

from campaign_sync.errors import CampaignSyncError

_REMOVED = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]+"
)
"""Invisible characters without a meaning in an address: soft hyphens, byte order marks, zero-width spaces, marks of the
writing direction, variation selectors. These are Unicode's default-ignorable characters except joiners and fillers."""

_HIDDEN_LETTERS = "\u115f\u1160\u17b4\u17b5\u3164\uffa0"
"""Invisible letters and marks that may be part of a word."""

_DOTTED_I = ("\u0130", "i\u0307")
"""The capital i with a dot, and the two characters that Python's lower case turns it into. Both may mean a plain i."""

POSSIBLE_ADDRESS = re.compile(r"[^\s@,;:\"'<>()\[\]|\\=\0]+@[^\s@,;:\"'<>()\[\]|\\=\0]*\w")
"""What may be an address within other text, such as the answer of a mail server."""

_LOCAL_PART = re.compile(rf"[^\s@\"(),:;<>\[\]\\\x00-\x1f\x7f-\x9f{_HIDDEN_LETTERS}]{{1,64}}")


class InvalidAddressError(CampaignSyncError, ValueError):
    """The text isn't an address that mail can be sent to. The message names the flaw, never the address."""


def normalize_address(raw: str) -> str:
    """Return the address trimmed, in lower case, composed (NFC), with an ASCII domain (IDNA 2008 with UTS 46 mapping).

    Invisible characters without a meaning are removed; ambiguous ones are refused: other control and format
    characters, compatibility letters (full width, ligatures) and the Turkish capital dotted i. The result is also the
    recipient id, by which the vendor remembers unsubscribes, so it must never change for an address as people write it.

    Raises:
        InvalidAddressError: `raw` isn't an address.
    """
    return _normalized(raw, strictly=True)


def is_blank_address(raw: str) -> bool:
    """Return whether a text has only blanks of all kinds and characters that `normalize_address` removes.

    Such a record has no address; it is no mistake of the CRM.
    """
    return not _REMOVED.sub("", raw).strip()


def former_recipient_id(raw: str) -> str | None:
    """Return the recipient id that earlier versions gave an address that `normalize_address` refuses; None without one.

    Lists and the vendor's unsubscribe list may contain such ids.
    """
    try:
        return _normalized(raw, strictly=False)
    except InvalidAddressError:
        return None


def _normalized(raw: str, *, strictly: bool) -> str:
    address = unicodedata.normalize("NFC", _REMOVED.sub("", raw).strip())
    if strictly and not address.isascii() and any(dotted in address for dotted in _DOTTED_I):
        raise InvalidAddressError("it has the Turkish letter \u0130, whose small letter is ambiguous")
    local, at, domain = unicodedata.normalize("NFC", address.lower()).rpartition("@")
    if not at:
        raise InvalidAddressError("the address has no @")
    if not _LOCAL_PART.fullmatch(local):
        raise InvalidAddressError("the part before the @ is empty, too long or has forbidden characters")
    ascii_domain = _ascii_domain(domain)
    if strictly:
        _require_usual_form(local, ascii_domain)
    if len(local) + 1 + len(ascii_domain) > 254:
        raise InvalidAddressError("the address is longer than 254 characters")
    return f"{local}@{ascii_domain}"


def _require_usual_form(local: str, ascii_domain: str) -> None:
    if ascii_domain.rpartition(".")[2].isdigit():
        raise InvalidAddressError("the domain ends with a number, as IP addresses do")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise InvalidAddressError("the part before the @ begins or ends with a dot, or has two in a row")
    if local.isascii():
        return
    if unicodedata.normalize("NFKC", local) != local:
        raise InvalidAddressError("the part before the @ has letters of full width, ligatures or the like")
    categories = [unicodedata.category(letter)[0] for letter in local]
    if categories[0] == "M" or not {"C", "Z"}.isdisjoint(categories):
        raise InvalidAddressError("the part before the @ has characters that don't show, or begins with an accent")


@lru_cache(maxsize=10_000)
def _ascii_domain(domain: str) -> str:
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
        idna.encode(ascii_domain, uts46=True, std3_rules=True)
    except idna.IDNAError as error:
        raise InvalidAddressError("the domain isn't a valid host name") from error
    # Checked in the ASCII form only: the mapping turns other scripts' full stops into dots.
    _, dot, top_level = ascii_domain.rpartition(".")
    if not dot or not top_level:
        raise InvalidAddressError("the domain has no dot, or ends with one")
    return ascii_domain


def usable_address(raw: str) -> str | None:
    """Return the normalized address; None if the text isn't an address."""
    try:
        return normalize_address(raw)
    except InvalidAddressError:
        return None

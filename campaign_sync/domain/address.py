"""One spelling for one e-mail address."""

import re
import unicodedata
from functools import lru_cache

import idna
import pandas as pd
import pyarrow.compute as pc

from campaign_sync.domain.columns import by_rule

_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\\x00-\x1f\x7f]{1,64}")

_LABEL = "[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*"

_PLAIN = rf"\A[a-zA-Z0-9!#$%&'*+/=?^_`{{|}}~.-]+@(?:{_LABEL}\.)+{_LABEL}\z"
"""For Arrow: an address of which `normalize_address` makes nothing but small letters, if no part of it is too long."""

_PLAIN_LENGTH = 64
"""An address this short has no part that is too long."""


class InvalidAddressError(ValueError):
    """Not an address that mail can be sent to. The message names the flaw, never the address."""


def normalize_address(raw: str) -> str:
    """The address trimmed, lower-cased, composed (NFC), its domain in ASCII form (IDNA 2008 with UTS 46 mapping).

    This is also the recipient id. The convention must never change: the vendor remembers unsubscribes by that id.

    Raises:
        InvalidAddressError: `raw` can't be an address.
    """
    address = unicodedata.normalize("NFC", raw).strip().lower()
    local, at, domain = address.rpartition("@")
    if not at:
        raise InvalidAddressError("the address has no @")
    if not _LOCAL_PART.fullmatch(local):
        raise InvalidAddressError("the part before the @ is empty, too long or has forbidden characters")
    ascii_domain = _ascii_domain(domain)
    # Looked for in the ASCII form only: the mapping turns other scripts' full stops into dots.
    if "." not in ascii_domain or ascii_domain.endswith("."):
        raise InvalidAddressError("the domain has no dot, or ends with one")
    if len(local) + 1 + len(ascii_domain) > 254:
        raise InvalidAddressError("the address is longer than 254 characters")
    return f"{local}@{ascii_domain}"


@lru_cache(maxsize=10_000)
def _ascii_domain(domain: str) -> str:
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
        idna.encode(ascii_domain, uts46=True, std3_rules=True)
    except idna.IDNAError as error:
        raise InvalidAddressError("the domain isn't a valid host name") from error
    return ascii_domain


def usable_address(raw: str) -> str | None:
    """What `normalize_address` makes of an address; None for what can't be one."""
    try:
        return normalize_address(raw)
    except InvalidAddressError:
        return None


def usable_addresses(column: "pd.Series[str]") -> "pd.Series[str]":
    """What `usable_address` makes of every text; missing where there is none."""
    return by_rule(
        column,
        bulk=pc.ascii_lower,
        odd=lambda raw: pc.or_(
            pc.greater(pc.binary_length(raw), _PLAIN_LENGTH), pc.invert(pc.match_substring_regex(raw, _PLAIN))
        ),
        rule=usable_address,
    )

"""Finding people by their address, whatever spelling the CRM holds."""

from campaign_sync.domain.address import InvalidAddressError, normalize_address


def address_key(raw: object) -> str | None:
    """What `normalize_address` makes of an address, fast enough for millions; None for what can't be one.

    An invalid ASCII address still gets a key, which no valid address shares.
    """
    if not isinstance(raw, str):
        return None
    if raw.isascii():
        return raw.strip().lower()  # composing and IDNA, the slow part, leave ASCII alone
    try:
        return normalize_address(raw)
    except InvalidAddressError:
        return None

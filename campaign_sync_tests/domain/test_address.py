"""Normalization of addresses."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.address import InvalidAddressError, normalize_address, usable_address
from campaign_sync.domain.address_columns import usable_addresses


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("  Anna@Example.ORG\n", "anna@example.org"),
        ("anna+news@mail.example.org", "anna+news@mail.example.org"),
        ("anna@MÜNCHEN.example", "anna@xn--mnchen-3ya.example"),
        ("anna@mu\u0308nchen.example", "anna@xn--mnchen-3ya.example"),
        ("anna@XN--MNCHEN-3YA.example", "anna@xn--mnchen-3ya.example"),
        ("anna@straße.example", "anna@xn--strae-oqa.example"),
        ("anna@例え。example", "anna@xn--r8jz45g.example"),
        ("zoe\u0308@example.org", "zoë@example.org"),
        ("J\u030c@example.org", "\u01f0@example.org"),
        ("W\u030a@example.org", "\u1e98@example.org"),
        ("\ufeffanna@example.org", "anna@example.org"),
        ("\u202aanna@example.org\u202c", "anna@example.org"),
        ("an\u200bna@exam\u200bple.org\u2060", "anna@example.org"),
        ("\u200b \u00a0anna@example.org \u200e", "anna@example.org"),
        ("an\u00adna@exam\u00adple.org", "anna@example.org"),
        ("anna@ｅｘａｍｐｌｅ.org", "anna@example.org"),
    ],
)
def test_every_spelling_of_an_address_becomes_the_same_one(raw: str, address: str) -> None:
    assert normalize_address(raw) == address


@pytest.mark.parametrize(
    "raw",
    [
        *("", "anna", "@example.org", "anna@", "anna@localhost", "an na@example.org", "anna@exa mple.org"),
        *("anna@example..org", "anna@.example.org", "anna@example.org.", "anna@example.org。", "anna@-x.example"),
        *("anna@ex_ample.org", "anna@[192.0.2.1]", "an@na@example.org", '"anna"@example.org', "anna\x00@example.org"),
        *("anna.@example.org", ".anna@example.org", "an..na@example.org", "anna@192.0.2.1", "anna@example.123"),
        *(
            "ａｎｎａ@example.org",
            "an\ufb01na@example.org",
            "İanna@example.org",
            "i\u0307anna@example.org",
            "anna@İx.org",
        ),
        *("anna\x85b@example.org", "anna\x9fb@example.org", "anna@exam\x9fple.org", "an\u200dna@example.org"),
        *("an\ue000na@example.org", "an\u3164na@example.org", "\u0308anna@example.org", "anna\u2028b@example.org"),
        *("a" * 65 + "@example.org", "anna@" + ".".join(["x" * 60] * 5) + ".org", "anna@xn--\u00fc.example"),
    ],
)
def test_an_invalid_address_is_refused_without_repeating_it(raw: str) -> None:
    with pytest.raises(InvalidAddressError) as error:
        normalize_address(raw)
    assert "anna" not in str(error.value)


unseen = st.characters(categories=["Cc", "Cf", "Mn", "Zs"]) | st.sampled_from(
    "\ufeff\u200b\u2060\u202a\u00ad\u0130\u0307\u1e9e"
)
local_parts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("jJwWİiKÅΣς.") | unseen, min_size=1, max_size=20
)
domains = st.text("aZ0-üßé例。.", min_size=1, max_size=20)


@given(
    st.builds("{}@{}.example".format, local_parts, domains)
    | st.builds("{}@example.org".format, local_parts)
    | st.text()
)
def test_normalizing_twice_changes_nothing(raw: str) -> None:
    try:
        address = normalize_address(raw)
    except InvalidAddressError:
        return
    assert normalize_address(address) == address
    assert address.rpartition("@")[2].isascii()


removed = st.sampled_from("\ufeff\u200b\u2060\u202a\u202c\u200e\u00ad\u061c\u034f\ufe0f")


@given(
    st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.example", fullmatch=True), st.lists(st.tuples(st.integers(0, 28), removed))
)
def test_invisible_characters_make_no_difference_anywhere(address: str, hidden: list[tuple[int, str]]) -> None:
    raw = address
    for position, character in hidden:
        raw = raw[:position] + character + raw[position:]
    assert normalize_address(raw) == address


@given(st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.example", fullmatch=True), st.sampled_from(["", " ", "\t", "\u00a0"]))
def test_outer_blanks_and_case_make_no_difference(address: str, blank: str) -> None:
    assert normalize_address(blank + address.upper() + blank) == address


ascii_addresses = st.from_regex(r"[ -~]{0,9}@[a-zA-Z0-9._ -]{0,40}(\.[a-zA-Z0-9-]{1,30}){0,3}\s?", fullmatch=True)
plain_addresses = st.from_regex(
    r"[a-zA-Z.+!']{1,66}@([a-z0-9]-?[a-zA-Z0-9]{1,64}\.){1,5}[a-z0-9]{2,3}\n?", fullmatch=True
)
any_addresses = st.builds("{}@{}.example".format, local_parts, domains) | st.text(st.characters(codec="utf-8"))


@given(st.lists(st.none() | plain_addresses | ascii_addresses | any_addresses, max_size=20))
def test_a_column_of_addresses_is_normalized_like_single_addresses(raw: list[str | None]) -> None:
    column = pd.Series(raw, index=range(3, 3 + len(raw)), dtype="str")
    expected = [None if address is None else usable_address(address) for address in raw]
    pd.testing.assert_series_equal(usable_addresses(column), pd.Series(expected, index=column.index, dtype="str"))


def test_a_column_is_normalized_at_every_length_of_an_address() -> None:
    raw = [f"{'a' * local}@{'b' * label}.example" for local in (1, 54, 63, 64, 65) for label in range(1, 66)]
    raw += [f"a@{'b.' * labels}example" for labels in range(1, 130)]
    assert usable_addresses(pd.Series(raw, dtype="str")).to_list() == pd.Series(map(usable_address, raw)).to_list()

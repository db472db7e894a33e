"""One spelling for one address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.address import InvalidAddressError, normalize_address


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
        *("a" * 65 + "@example.org", "anna@" + ".".join(["x" * 60] * 5) + ".org", "anna@xn--\u00fc.example"),
    ],
)
def test_what_mail_cannot_be_sent_to_is_refused_without_repeating_it(raw: str) -> None:
    with pytest.raises(InvalidAddressError) as error:
        normalize_address(raw)
    assert "anna" not in str(error.value)


local_parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
domains = st.text("aZ0-üßé例。.", min_size=1, max_size=20)


@given(st.builds("{}@{}.example".format, local_parts, domains) | st.text())
def test_normalizing_twice_changes_nothing(raw: str) -> None:
    try:
        address = normalize_address(raw)
    except InvalidAddressError:
        return
    assert normalize_address(address) == address
    assert address.rpartition("@")[2].isascii()


@given(st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.example", fullmatch=True), st.sampled_from(["", " ", "\t", "\u00a0"]))
def test_blanks_around_and_case_make_no_difference(address: str, blank: str) -> None:
    assert normalize_address(blank + address.upper() + blank) == address

"""Ambiguous URLs, and URLs with credentials."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from campaign_sync.domain.url import is_ambiguous, may_hold_password

PASSWORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1)


@given(PASSWORDS)
def test_a_url_with_an_encoded_password_is_unambiguous(password: str) -> None:
    url = f"postgresql://reader:{quote(password, safe='')}@db.example:5432/crm?sslmode=require"

    assert not is_ambiguous(url)
    assert make_url(url).password == password


@given(PASSWORDS.filter(lambda password: set(password) & set("@/?#")))
def test_a_url_with_an_unencoded_password_is_ambiguous(password: str) -> None:
    assert is_ambiguous(f"postgresql://reader:{password}@db.example/crm")


@given(PASSWORDS)
def test_the_shown_part_of_an_unambiguous_url_has_nothing_of_the_password(password: str) -> None:
    url = f"postgresql://reader:{password}@db.example/crm"

    assert is_ambiguous(url) or (make_url(url).host, make_url(url).database) == ("db.example", "crm")


@pytest.mark.parametrize(
    "url",
    ["sqlite:////data/me@home/crm.db", "sqlite://", "postgresql://db/crm", "postgresql:///crm?host=/run/postgresql"],
)
def test_ordinary_urls_are_unambiguous(url: str) -> None:
    assert not is_ambiguous(url)


@pytest.mark.parametrize(
    "location",
    [
        "sftp://user:geheim@sftp.example/in",
        "sftp://user:ge@heim@sftp.example/in",
        "sftp://user:ge/heim@sftp.example/in",
        "sftp://user:ge#heim@sftp.example/in",
        "sftp:/user:geheim@sftp.example/in",
        "sftp:user:geheim@sftp.example/in",
        "s3://key:ge/heim@bucket/frames",
        "simplecache::s3://key:geheim@bucket/frames",
    ],
)
def test_a_location_with_a_login_is_recognized_in_any_form(location: str) -> None:
    assert may_hold_password(location)


@pytest.mark.parametrize(
    "location",
    [
        "frames", "/data/a:b@c/frames", "./me@home", "file:///data/a:b@c", "sftp://sftp.example:2222/in",
        "abfs://frames@account.dfs.core.windows.net/x", "s3://bucket/tenant@corp", "C:/data/me@home",
    ],
)  # fmt: skip
def test_ordinary_locations_have_no_login(location: str) -> None:
    assert not may_hold_password(location)

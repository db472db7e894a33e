"""Queries as people write them."""

import pytest

from campaign_sync.crm.sql.query_text import strip_query_end

QUERY = "SELECT id AS entity_id FROM contact"


@pytest.mark.parametrize(
    "ending",
    ["", ";", " ;\n; ", "-- all of them", " -- all; of them\n", "; -- done", "/* all\nof them */;", "--\n-- x\n;"],
)
def test_what_says_nothing_is_left_out_at_the_end(ending: str) -> None:
    assert strip_query_end(QUERY + ending) == QUERY


@pytest.mark.parametrize(
    "query",
    [
        QUERY + " WHERE city = 'a -- b'",
        QUERY + " WHERE city = 'it''s; -- b'",
        QUERY + r" WHERE city = E'it\'s; -- b'",
        QUERY + " WHERE city = $$ ; -- $$",
        QUERY + " WHERE city = $q$ $$ ; -- $q$",
        QUERY + ' WHERE "a;--" = 1',
        QUERY + " /* why */ WHERE id > '0' -- why\n AND id < '9'",
        "SELECT 1; " + QUERY,
        QUERY + " WHERE id = 'open",
    ],
)
def test_what_only_looks_like_an_ending_stays(query: str) -> None:
    assert strip_query_end(query) == query
    assert strip_query_end(f"{query}\n;") == query or query.endswith("'open")

"""The texts of queries that users have written into the CRM."""

import re

_TOKEN = re.compile(
    r"""
    (?P<insignificant> \s+ | ; | --[^\n]* | /\*.*?\*/ )
    | [eE]'(?: [^'\\] | \\. | '' )*'           # PostgreSQL's strings with escapes
    | '(?: [^'] | '' )*'
    | "(?: [^"] | "" )*"
    | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$         # PostgreSQL's strings without any
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def strip_query_end(query: str) -> str:
    """Return the query without the blanks, comments and semicolons at its end, so that it fits into parentheses."""
    end = 0
    for token in _TOKEN.finditer(query):
        if token.lastgroup != "insignificant":
            end = token.end()
    return query[:end]

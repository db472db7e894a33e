"""The allowlist for fault texts: names of Java classes, and the words that the vendor's faults consist of.

A fault repeats the session, the user and the arguments of the call in other spellings, and may name people that the
call didn't. So words are shown only if they are on the list.
"""

import re
from collections.abc import Iterable

_VOCABULARY = """
a again all already an and any are argument arguments array arrays as at attribute attributes authentication
authorized available bad be been blacklist blacklisted bounce bounced by call called calls can cannot character
characters child clear client closed code column columns connection connections could count credentials data
database dataset deadlock denied deserializer did differ do does double duplicate element email empty encountered
entries entry error errors exceeded exist existing exists expected expired failed failure fault field fields file
filter forbidden format found has have id ids illegal in index int integer internal interrupted into invalid is it
key large least length lengths less limit list lists lock locked login long loop mailing mailings maintenance
mandator many match maximum message minimum missing more most must name names no not null number object occurred of
on only operation operations or out overload overloaded parallel parameter parameters parse permission permissions
permitted pool process processing query range read read-only recipient recipients refused rejected request requests
required result right rights row rows rpc sax schema server service session sessionid sessions size so soap state
status string such support supported syntax system table temporarily temporary than that the then this time timed
timeout to token too transaction try type types unable unavailable unexpected unique unknown unsubscribe
unsubscribed unsubscribes unsupported updating user userlist users valid value values version violation was web
webservice when which while with within wrong xml
"""
"""As far as possible, no name of a person is among them."""

_WORDS = frozenset(_VOCABULARY.split())

_CLASS = re.compile(r"(?:[a-z][a-z0-9]*\.)*[A-Z][A-Za-z]{2,}(?:Exception|Error|Deserializer)")
_SHORT_NUMBER = re.compile(r"[0-9]{1,3}")
_TOKEN = re.compile(r"[^\s,;:=()\[\]{}<>\"'|]+")
_BRACKETS_AND_QUOTES = re.compile(r"\[[^\]]*\]|'[^']*'|\"[^\"]*\"")
"""The vendor's `[session,mandator,user]`, and quotations."""

_ARGUMENTS = re.compile(r"\bfor call\b.*", re.DOTALL)
_LONGEST_TEXT = 10_000
"""In characters. A longer text isn't shown."""


def known_words(text: str, secrets: Iterable[str]) -> str:
    """Return the known words of a fault's text, at most 200 characters; anything else becomes `…`.

    Args:
        text: the text as received.
        secrets: texts that are never shown, even if they are known words.
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    text = _ARGUMENTS.sub("", text)
    if len(text) > _LONGEST_TEXT:
        return f"its text has {len(text)} characters"
    text = _TOKEN.sub(lambda token: token[0] if _is_known(token[0]) else "…", _BRACKETS_AND_QUOTES.sub("…", text))
    text = re.sub(r"(?:…[\s,;:=|<>]*)+", "… ", " ".join(text.split())).strip()
    return text[:200] or "without a text"


def _is_known(token: str) -> bool:
    bare = token.strip(".!?")
    return (
        not bare.strip("->*/…")
        or bare.casefold() in _WORDS
        or _SHORT_NUMBER.fullmatch(bare) is not None
        or _CLASS.fullmatch(bare) is not None
    )

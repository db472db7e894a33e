"""Texts of others as they may be shown to people: nothing in them steers a terminal, a log or a reader's eye."""

import re

_STEERING = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed; ESC and CSI begin sequences
    # Unseen, or turning the text round.
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"  # lone surrogates, which can't be written; tags
    "]"
)


def printable(text: str) -> str:
    r"""The text with every character that doesn't show, but steers, as its escape, like `\x1b` or `\u202e`.

    Tabs and line feeds stay, and the joiners that scripts and emoji need.
    """
    return _STEERING.sub(lambda found: _escape(found[0]), text)


def printable_line(text: str) -> str:
    """`printable`, and in one line: nobody else's text begins a line of a log."""
    return printable(" ".join(text.split()))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

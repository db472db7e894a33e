"""Text from other systems, made safe to display: without characters that control a terminal or hide other text."""

import re

_CONTROL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed; ESC and CSI begin sequences
    # Invisible characters, and marks of the writing direction.
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"  # lone surrogates, which can't be written; tags
    "]"
)


def printable(text: str) -> str:
    r"""Return the text with every control character as its escape, like `\x1b` or `\u202e`.

    Tabs and line feeds remain, and the joiners that scripts and emoji need.
    """
    return _CONTROL.sub(lambda match: _escape(match[0]), text)


def printable_line(text: str) -> str:
    """Return the `printable` text in a single line, so that it can't forge a line of a log."""
    return printable(" ".join(text.split()))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Everything that reaches the handlers of the root logger."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def root_log(level: int) -> Iterator[list[logging.LogRecord]]:
    """Collect the records of at least this level, as a handler of an operator would get them.

    Pytest's `caplog` also gets the records of loggers that don't propagate theirs.
    """
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment,method-assign]
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(before)

"""Warnings of the log, for a command that shows them in its own way."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[record.getMessage()] = None


@contextmanager
def collected_warnings(logger_name: str) -> Iterator[dict[str, None]]:
    """Keep the warnings of a logger and those below it from the log. Yields them in their order, each once."""
    logger, collector = logging.getLogger(logger_name), _Collector()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagate

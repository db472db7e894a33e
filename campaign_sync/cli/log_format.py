"""How errors and warnings are written to stderr: for people, or as JSON for a log collector."""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

from campaign_sync.domain.printable_text import printable


class LogFormat(StrEnum):
    """The forms of lines on stderr."""

    TEXT = "text"
    JSON = "json"


class PrintableFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, made printable."""
        return printable(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats log records as JSON, with the keys of Dagster's `--log-format json`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_to_terminal(log_format: LogFormat) -> None:
    """Write warnings and errors of all loggers to stderr, in this form."""
    to_terminal = logging.StreamHandler(sys.stderr)
    is_json = log_format is LogFormat.JSON
    to_terminal.setFormatter(JsonFormatter() if is_json else PrintableFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[to_terminal])
    if is_json:
        logging.captureWarnings(True)  # Python's own would be lines that aren't JSON

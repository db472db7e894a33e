"""What was mailed last of each mandator's report, and why a mail couldn't be sent."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine, select

from campaign_sync.storage.tables import report_mail
from campaign_sync.storage.upsert import upsert


@dataclass(frozen=True)
class ReportMail:
    """The last mail of a mandator's report, sent or not."""

    day: date
    """Of the report."""
    severity: str
    """That of its headline."""
    attempted_at: datetime
    problem: str | None = None
    """Why it couldn't be sent; None if it was."""


class ReportMails:
    """The last mail of each mandator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def last(self) -> dict[str, ReportMail]:
        """Return the last mail of each mandator, sent or not."""
        with self._engine.connect() as connection:
            return {
                row.mandator: ReportMail(row.day, row.severity, row.attempted_at, row.problem)
                for row in connection.execute(select(report_mail))
            }

    def record(self, mandator: str, mail: ReportMail) -> None:
        """Record the last mail of a mandator."""
        with self._engine.begin() as connection:
            upsert(connection, report_mail, [{"mandator": mandator, **vars(mail)}], list(vars(mail)))

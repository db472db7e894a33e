"""The people whom a list is for: picked in the CRM, with a granted consent and a usable address."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from campaign_sync.crm.exclusions import read_excluded
from campaign_sync.crm.port import SELECTION_COLUMNS, CrmError, CrmSnapshot
from campaign_sync.domain.checks import CheckOutcome, check_consents
from campaign_sync.domain.consent import OptIn, is_email
from campaign_sync.domain.exclusion import Excluded, check_exclusions
from campaign_sync.domain.parquet_rows import ParquetRows
from campaign_sync.domain.progress import Progress, report
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.preflight_checks import check_vanished_withdrawals
from campaign_sync.storage.state import State


@dataclass(frozen=True)
class SelectedPeople:
    """Everybody whom the CRM picks for a list, divided into selected and rejected, and what was checked of them."""

    picked: int
    rows: ParquetRows
    """The selected, as `split_by_consent` keeps them."""
    rejections: pd.DataFrame
    excluded: Excluded
    outcomes: tuple[CheckOutcome, ...]


def select_people(
    crm: CrmSnapshot, state: State, settings: ListSettings, suppressed: pd.DataFrame, known_withdrawals: int
) -> SelectedPeople:
    """Select the people of a list. Records nothing.

    Args:
        crm: the CRM at this moment.
        state: the state database.
        settings: the list.
        suppressed: who may not be written to in the mandator, with withdrawals that vanished from the CRM. Columns
            `SUPPRESSION_COLUMNS`.
        known_withdrawals: how many withdrawals of the list's opt-in are remembered.

    Raises:
        CrmError: the CRM can't be read, or what the list asks of it isn't there.
        ErasureKeyError: people were erased, and can't be recognized.
    """
    opt_in_id = settings.schema.opt_in_id
    list_opt_in(crm, settings)
    excluded = read_excluded(crm, settings.exclusions)
    divided = _Divided(crm, settings, Suppressed.of(suppressed, opt_in_id, state.erasures.erased()), excluded)
    rows = ParquetRows.of(divided, divided.no_rows.rows)
    outcomes = [
        check_consents(crm.consent_rows(opt_in_id)),
        check_vanished_withdrawals(settings, suppressed, known_withdrawals, state),
        *([check_exclusions(excluded.counts)] if settings.exclusions else []),
    ]
    return SelectedPeople(divided.picked, rows, divided.rejections, excluded, tuple(outcomes))


def list_opt_in(crm: CrmSnapshot, settings: ListSettings) -> OptIn:
    """Return the CRM's definition of the list's opt-in.

    Raises:
        CrmError: the CRM doesn't know it, it belongs to another mandator, it isn't for e-mail, or has no description.
    """
    opt_in = crm.opt_in(settings.schema.opt_in_id)
    place = f"mandators.{settings.mandator}.lists.{settings.name}.opt_in_id"
    if opt_in is None:
        raise CrmError(f"the CRM knows no opt-in {settings.schema.opt_in_id!r} ({place}); correct it or add it there")
    if opt_in.mandator != settings.mandator:
        raise CrmError(
            f"the CRM's opt-in {opt_in.opt_in_id!r} belongs to mandator {opt_in.mandator!r}, not {settings.mandator!r} "
            f"({place}); choose one of this mandator"
        )
    media_type = (opt_in.media_type or "").strip()
    if not is_email(media_type):
        problem = f"is of media type {media_type!r}" if media_type else "has no media type"
        raise CrmError(
            f"the CRM's opt-in {opt_in.opt_in_id!r} {problem} ({place}), and only e-mail can be sent; choose an opt-in "
            "for e-mail, or correct opt_in.media_type in the CRM to email"
        )
    if not opt_in.description.strip():
        raise CrmError(
            f"the CRM's opt-in {opt_in.opt_in_id!r} has no description (opt_in.description), which is sent with every "
            "row; fill it in the CRM"
        )
    return opt_in


class _Divided:
    """Yields the selected of a list in frames, and counts and keeps what else becomes of those who are picked."""

    def __init__(self, crm: CrmSnapshot, settings: ListSettings, suppressed: Suppressed, excluded: Excluded) -> None:
        self._crm, self._settings = crm, settings
        self._suppressed, self._excluded = suppressed, excluded
        self._columns = sorted(set(settings.schema.attributes.values()) - set(SELECTION_COLUMNS))
        empty = pd.DataFrame({name: pd.Series(dtype="str") for name in (*SELECTION_COLUMNS, *self._columns)})
        self.no_rows = split_by_consent(empty.astype({"consent_at": "datetime64[us, UTC]"}), suppressed)
        self._rejections = [self.no_rows.rejections]
        self.picked = 0

    @property
    def rejections(self) -> pd.DataFrame:
        """The rejected so far."""
        return pd.concat(self._rejections, ignore_index=True)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        settings = self._settings
        for chunk in self._crm.select(settings.pick, settings.schema.opt_in_id, self._columns):
            split = split_by_consent(chunk, self._suppressed, self._excluded)
            self._rejections.append(split.rejections)
            self.picked += len(chunk)
            report(Progress(settings.mandator, settings.name, "select", self.picked, None))
            yield split.rows

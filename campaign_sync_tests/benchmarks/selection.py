"""Selecting the people of a list: `python -m campaign_sync_tests.benchmarks.selection [sqlite] [postgresql] [ROWS …]`.

The list of `day` (`generated_data`): who is suppressed, then everybody whom the CRM picks, divided into selected and
rejected. First as it is, then with six further opt-ins, to which everybody has consented as to the newsletter. Beside
it the selection of the afternoon's loop, one query into lists of Python, which rejects and checks nothing.

Each is measured in a process of its own, without its start. Bytes a row: the peak beyond the one before the work.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import text

from campaign_sync.config import load_configuration
from campaign_sync.feedback.current_suppression import current_suppression
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.replacement.selected_people import select_people
from campaign_sync_tests import databases
from campaign_sync_tests.benchmarks import afternoon
from campaign_sync_tests.benchmarks.arguments import parse_sizes
from campaign_sync_tests.benchmarks.generated_data import MeasuredRig, installation
from campaign_sync_tests.benchmarks.separate_process import apart, peak_mib
from campaign_sync_tests.installation import ENVIRONMENT
from campaign_sync_tests.opened import opened

FURTHER_OPT_INS = 6


@dataclass(frozen=True)
class Selected:
    """What a selection returned."""

    rows: int
    peak_before: float
    """MiB."""


def ours(folder: str) -> Callable[[], Selected]:
    """Return the work that selects and rejects."""
    configuration = load_configuration(Path(folder) / "campaign_sync.yaml", ENVIRONMENT)
    listed = list_settings(configuration, "nord", "newsletter")
    stack = ExitStack()
    resources = stack.enter_context(opened(configuration))
    state, crm, before = resources.state, resources.crm, peak_mib()

    def work() -> Selected:
        with stack, crm.snapshot([listed.schema.opt_in_id]) as moment:
            suppressed = current_suppression(moment, state, "nord")
            people = select_people(moment, state, listed, suppressed, known_withdrawals=0)
            assert all(outcome.passed for outcome in people.outcomes), people.outcomes
            return Selected(len(people.rows), before)

    return work


def loop(crm: str) -> Callable[[], Selected]:
    """Return the work of the afternoon's loop."""
    before = peak_mib()
    return lambda: Selected(len(afternoon.select(crm)), before)


def add_opt_ins(rig: MeasuredRig) -> None:
    """Let everybody consent to further opt-ins, as to the newsletter."""
    copied = {
        "opt_in": "mandator, description, media_type",
        "consent_event": "entity_type, entity_id, kind, occurred_at, source, evidence",
    }
    with rig.crm() as crm:
        for number in range(FURTHER_OPT_INS):
            for table, columns in copied.items():
                key = ", :further || id" if table == "consent_event" else ""
                names = f"opt_in_id{', id' if key else ''}, {columns}"
                rows = f"SELECT :further{key}, {columns} FROM {table} WHERE opt_in_id = 'newsletter-nord'"
                crm.execute(text(f"INSERT INTO {table} ({names}) {rows}"), {"further": f"further-{number}"})
    with rig.crm() as crm:
        crm.execute(text("ANALYZE"))


def add_to(table: Table, database: str, rows: int) -> None:
    """Add the lines of a size and a database."""
    with installation(rows, database) as rig:
        assert rig.configuration  # writes the file
        for what in ("2 opt-ins", f"{2 + FURTHER_OPT_INS} opt-ins"):
            if what != "2 opt-ins":
                add_opt_ins(rig)
            mine, theirs = apart(ours, str(rig.folder)), apart(loop, rig.crm_argument)
            for name, measured in (("ours", mine), ("the loop", theirs)):
                bytes_a_row = (measured.peak - measured.result.peak_before) * 2**20 / rows
                cells = (f"{measured.wall:.2f}", f"{measured.cpu:.2f}", f"{measured.cpu / rows * 1e6:.1f}")
                memory = (f"{measured.peak:.0f}", f"{bytes_a_row:,.0f}")
                table.add_row(
                    f"{database}, {rows:,}, {what}", name, *cells, f"{measured.cpu / theirs.cpu:.2f}", *memory
                )


def main() -> None:
    """Measure and print."""
    sizes, used = parse_sizes(__doc__, (10_000, 100_000), ("sqlite", "postgresql"))
    titles = ("wall, s", "CPU, s", "µs a row", "× the loop", "peak, MiB", "bytes a row")
    table = Table("CRM, people", "who", *(Column(title, justify="right") for title in titles))
    folder = databases.prepare_server_folder()
    try:
        for database in used:
            for rows in sizes:
                add_to(table, database, rows)
    finally:
        databases.stop_server(folder)
        Console(width=120).print(table)


if __name__ == "__main__":
    main()

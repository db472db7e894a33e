"""How long a list is incomplete under each strategy: `python -m campaign_sync_tests.benchmarks.strategies [ROWS]`.

All people are in the list already; then one in a hundred leaves, joins or changes, and the list is replaced again
against the sandbox in its own process. The naive baseline clears and sends batch after batch, one at a time.
"""

import time
from datetime import UTC, datetime

import dagster as dg
from rich.console import Console
from rich.table import Column, Table

from campaign_sync.cli.run import problems
from campaign_sync.optimizely.client import connect
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync_tests.benchmarks.arguments import parse_numbers
from campaign_sync_tests.benchmarks.generated_data import add_people, installation
from campaign_sync_tests.installation import ENVIRONMENT, NEWSLETTER, NORD, Installation

STRATEGIES = ("clear_refill", "differential")
ASSETS = [
    *(("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")),
    *(("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot", "recipient_list")),
]


def _churn(rig: Installation, day: int, rows: int) -> None:
    """Remove, add and change one in three hundred people each."""
    share = max(rows // 300, 1)
    with rig.crm() as crm:
        gone = ", ".join(f"'n{number}'" for number in range(day * share, (day + 1) * share))
        crm.exec_driver_sql(f"DELETE FROM marketing_list_member WHERE entity_id IN ({gone})")
        changed = ", ".join(f"'n{number}'" for number in range(rows // 2 + day * share, rows // 2 + (day + 1) * share))
        crm.exec_driver_sql(f"UPDATE contact SET city = 'Zürich {day}' WHERE id IN ({changed})")
    add_people(rig, range(rows + day * share, rows + (day + 1) * share))


def _replace(rig: Installation, strategy: str) -> dict[str, float]:
    rig.list_settings().update(strategy=strategy, id_attribute="Recipient")
    calls, begun = len(rig.vendor.calls()), time.monotonic()
    result = rig.run("nord", assets=ASSETS)
    assert result.success, problems(result)
    seconds = time.monotonic() - begun
    (metadata,) = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["nord", "newsletter_recipient_list"])
    ]
    taken = [call for call in rig.vendor.calls()[calls:] if call.list_id == NEWSLETTER]
    incomplete = metadata["seconds incomplete"].value
    assert isinstance(incomplete, float)
    return {
        "incomplete": incomplete,
        "sent": sum(call.rows for call in taken if call.operation == "addAll3"),
        "cleared": sum(call.operation == "clear" for call in taken),
        "replace": float(str(metadata["seconds"].value)),
        "day": seconds,
    }


def _naive(rig: Installation) -> float:
    """Clear, and encode and send batch after batch."""
    listed = list_settings(rig.configuration, "nord", "newsletter")
    held = rig.vendor.recipients(NEWSLETTER)
    names = listed.schema.list_attributes
    user, password = ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"]
    with connect(rig.configuration.optimizely.base_url, NORD, user, password) as vendor:
        begun = time.monotonic()
        vendor.recipients.clear(NEWSLETTER)
        for start in range(0, len(held), listed.optimizely.batch_size):
            chunk = held[start : start + listed.optimizely.batch_size]
            ids = [recipient["id"] for recipient in chunk]
            values = [[recipient["attributes"][name] or "" for recipient in chunk] for name in names]
            vendor.recipients.add_all(NEWSLETTER, vendor.recipients.prepare(NEWSLETTER, ids, ids, names, values))
        return time.monotonic() - begun


def main() -> None:
    """Print the table."""
    (rows,) = parse_numbers(__doc__, rows=100_000)
    table = Table(
        Column("strategy", no_wrap=True),
        *(f"{name}" for name in ("incomplete s", "ratio", "sent", "clears", "replace s", "day s")),
    )
    with installation(rows) as rig:
        _replace(rig, "clear_refill")
        baseline = _naive(rig)
        for day, strategy in enumerate(STRATEGIES):
            _churn(rig, day, rows)
            figures = _replace(rig, strategy)
            numbers = (figures["incomplete"], figures["incomplete"] / baseline, figures["sent"], figures["cleared"])
            table.add_row(
                strategy,
                f"{numbers[0]:.1f}",
                f"{numbers[1]:.2f}",
                f"{numbers[2]:,.0f}",
                f"{numbers[3]:.0f}",
                f"{figures['replace']:.1f}",
                f"{figures['day']:.1f}",
            )
        table.add_row("naive loop", f"{baseline:.1f}", "1.00", f"{rows:,}", "1", "", "")
    table.title = f"A list of {rows:,} recipients with 15 attributes, {datetime.now(UTC):%Y-%m-%d}"
    Console().print(table)


if __name__ == "__main__":
    main()

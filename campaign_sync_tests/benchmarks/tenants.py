"""Twelve mandators of 20 lists, idle: `python -m campaign_sync_tests.benchmarks.tenants [PROJECT …]`.

For each project (a checkout with an environment of its own, `.venv`; by default this one) a world is made on
PostgreSQL, and code server, webserver and daemon are started as in a deployment. Lists are replaced once, and then
nothing happens for a few minutes. The projects are columns of the same table, so that two commits can be compared.
Connections, statements and ticks don't depend on the load of the machine; CPU seconds do a little.
"""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Column, Table

from campaign_sync_tests.benchmarks.tenants_measurement import Measured, SensorCost, measure
from campaign_sync_tests.databases import prepare_server_folder, stop_server
from campaign_sync_tests.stack import ROOT


class _Options(NamedTuple):
    mandators: int
    lists: int
    replaced: int
    minutes: float


def costs(measured: list[Measured]) -> Table:
    """Return a line for each cost, with a column for each project."""
    table = Table(Column("what", no_wrap=True), *(Column(project.commit, justify="right") for project in measured))
    for name in measured[0].costs:
        table.add_row(name, *(f"{project.costs[name]:,.4g}" for project in measured))
    return table


def sensors(measured: Measured) -> Table:
    """Return a line for each kind of sensor of a project."""
    heads = ("sensors", "ticks a day", "statements", "of Dagster's", "connections", "CPU, s", "wall, s")
    table = Table(Column(measured.commit, no_wrap=True), *(Column(head, justify="right") for head in heads))
    for kind, cost in measured.sensors.items():
        table.add_row(kind, *_cells(cost))
    return table


def _cells(cost: SensorCost) -> tuple[str, ...]:
    counts = (cost.statements, cost.dagster_statements, cost.connections)
    times = (f"{cost.cpu:.2f}", f"{cost.wall:.1f}" if cost.error is None else f"{cost.wall:.1f} (failed)")
    return (f"{cost.sensors}", f"{cost.ticks_a_day:,.0f}", *(f"{count:,}" for count in counts), *times)


def main(
    projects: Annotated[list[Path] | None, typer.Argument(help="Checkouts, each with its .venv.")] = None,
    mandators: Annotated[int, typer.Option(help="How many mandators.")] = 12,
    lists: Annotated[int, typer.Option(help="How many lists each has.")] = 20,
    replaced: Annotated[int, typer.Option(help="How many of them have a daily run before.")] = 12,
    minutes: Annotated[float, typer.Option(help="How long to watch while nothing runs.")] = 5.0,
    keep: Annotated[Path | None, typer.Option(help="A folder for the measurements, which are used again.")] = None,
) -> None:
    """Measure and print."""
    measured = [
        _measured(project.resolve(), _Options(mandators, lists, replaced, minutes), keep)
        for project in projects or [ROOT]
    ]
    console = Console(width=140)
    console.print(f"{mandators} mandators with {lists} lists each", costs(measured))
    console.print(*(sensors(project) for project in measured))


def _measured(project: Path, options: _Options, keep: Path | None) -> Measured:
    """Return the measurements of a project, from the file that an earlier call has kept if there is one."""
    file = keep / f"{project.name}.json" if keep else None
    if file and file.exists():
        return Measured.parse(json.loads(file.read_text(encoding="utf-8")))
    server = prepare_server_folder()
    try:
        with TemporaryDirectory(prefix="campaign-sync-tenants-") as folder:
            measured = measure(project, Path(folder), *options)
    finally:
        stop_server(server)
    if file:
        file.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    return measured


if __name__ == "__main__":
    typer.run(main)

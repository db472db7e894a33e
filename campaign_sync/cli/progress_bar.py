"""Live progress of a run in the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from campaign_sync.domain.progress import Progress as Step
from campaign_sync.domain.progress import watching


@contextmanager
def progress_lines(console: Console) -> Iterator[Callable[[Step], None]]:
    """Yield what shows a step of a feedback reader or list in its line of the terminal."""
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.fields[subject]}", style="bold", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:

        def show(step: Step) -> None:
            subject = f"{step.mandator}/{step.subject}" if step.mandator else step.subject
            if subject not in tasks:
                tasks[subject] = progress.add_task(step.step, subject=subject, total=None)
            progress.update(tasks[subject], description=step.step, completed=step.done, total=step.total)

        yield show


@contextmanager
def live_progress(console: Console) -> Iterator[None]:
    """Show the progress of what this process does within the context."""
    with progress_lines(console) as show, watching(show):
        yield

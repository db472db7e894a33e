"""Levels as a text file that Prometheus' node_exporter picks up (its textfile collector)."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from campaign_sync.telemetry.metrics import LEVELS, Sample

_READABLE_BY_ALL = 0o644


def rendered(samples: Sequence[Sample]) -> str:
    """The samples in Prometheus' text format."""
    lines = []
    for metric in LEVELS:
        values = [sample for sample in samples if sample.metric == metric]
        if values:
            lines += [f"# HELP {metric.prometheus} {metric.meaning}", f"# TYPE {metric.prometheus} {metric.kind}"]
            lines += [_line(sample) for sample in values]
    return "\n".join(lines) + "\n"


def write_text_file(path: Path, samples: Sequence[Sample]) -> None:
    """Replace the file in one go, so that nobody ever reads half of it. Everybody may read it: it names no person.

    Raises:
        OSError: its folder is missing or can't be written to.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(rendered(samples))
        written.chmod(_READABLE_BY_ALL)
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
    return (
        f"{sample.metric.prometheus}{{{labels}}} {sample.value!r}"
        if labels
        else (f"{sample.metric.prometheus} {sample.value!r}")
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

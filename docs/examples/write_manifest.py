"""Write the manifest of a delivery: python write_manifest.py FOLDER [DELIMITER [ENCODING]].

The last step of an export, after all CSV files are complete. The manifest appears at once, under its name, or not.
"""

import csv
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path


def described(file: Path, delimiter: str, encoding: str) -> dict[str, object]:
    """Return the number of rows without the header line, and the digest of the bytes."""
    with file.open(encoding=encoding, newline="") as stream:
        records = sum(1 for record in csv.reader(stream, delimiter=delimiter, strict=True) if record)
    return {"rows": records - 1, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def write_manifest(folder: Path, delimiter: str = ",", encoding: str = "utf-8") -> None:
    """Write `manifest.json` for all CSV files in a folder."""
    oldest = min(file.stat().st_mtime for file in folder.glob("*.csv"))
    files = {file.name: described(file, delimiter, encoding) for file in sorted(folder.glob("*.csv"))}
    unfinished = folder / "manifest.json.part"
    delivered_at = datetime.fromtimestamp(oldest, UTC).isoformat()
    unfinished.write_text(json.dumps({"delivered_at": delivered_at, "files": files}, indent=2))
    unfinished.replace(folder / "manifest.json")


if __name__ == "__main__":
    write_manifest(Path(sys.argv[1]), *sys.argv[2:])

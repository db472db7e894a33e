"""The schemas of what commands print with --json, made of the typed documents: `just docs` renews them."""

import json
from pathlib import Path

from campaign_sync.cli import documents, plan_document
from campaign_sync.cli.documents import Document
from campaign_sync.config.attribute_docstrings import DescribingJsonSchema

assert plan_document  # is among the subclasses

FOLDER = Path(documents.__file__).with_name("schemas")


def schemas() -> dict[str, str]:
    """Return the text of each schema, by the name of its file."""
    return {
        f"{document.__name__}.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **document.model_json_schema(mode="serialization", schema_generator=DescribingJsonSchema),
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for document in Document.__subclasses__()
    }


def renew() -> None:
    """Write all schemas, and remove those of documents that aren't there any more."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    renew()

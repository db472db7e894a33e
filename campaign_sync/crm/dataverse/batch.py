"""The multipart form in which one call carries many operations, and its answers.

See https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaign_sync.crm.web_api.answer import Answer


@dataclass(frozen=True)
class Operation:
    """An operation of a batch."""

    method: str
    path: str = field(repr=False)
    """The path of the URL, beginning with a slash, with its query; encoded."""
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    done_if_present: bool = False
    """Whether a record that is present already is the same, so that a refusal for this reason is a success."""

    def is_done(self, answer: Answer) -> bool:
        """Return whether the CRM has now what the operation says."""
        return answer.ok or (self.done_if_present and answer.status == 412)


def encode_batch(operations: Sequence[Operation]) -> tuple[str, bytes]:
    """Return the content type and the content of a batch. Every operation is on its own: none undoes another."""
    boundary = f"batch_{uuid.uuid4()}"
    parts = "".join(f"--{boundary}\r\n{_part(operation)}\r\n" for operation in operations)
    return f"multipart/mixed; boundary={boundary}", f"{parts}--{boundary}--\r\n".encode()


def _part(operation: Operation) -> str:
    headers = {"Accept": "application/json", **operation.headers}
    content = ""
    if operation.body is not None:
        headers["Content-Type"] = "application/json"
        content = json.dumps(operation.body)  # in ASCII: only so its length in bytes is certain everywhere
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    return f"{head}{operation.method} {operation.path} HTTP/1.1\r\n{lines}\r\n{content}"


def decode_batch(answer: Answer) -> list[Answer]:
    """Return the answers of the operations, in their order.

    Raises:
        ValueError: the answer isn't that of a batch, or isn't complete.
    """
    boundary = re.search(r'boundary="?([^";,\s]+)"?', answer.headers.get("Content-Type", ""))
    if boundary is None:
        raise ValueError("no boundary")
    first, *parts = (b"\r\n" + answer.content).split(b"\r\n--" + boundary[1].encode())
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise ValueError("not complete")
    return [_answer(part) for part in parts[:-1]]


def _answer(part: bytes) -> Answer:
    _, _, http = part.partition(b"\r\n\r\n")
    head, _, content = http.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = re.fullmatch(r"HTTP/1\.1 ([0-9]{3})(?: .*)?", status_line.strip())
    if status is None:
        raise ValueError("no status")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    return Answer(int(status[1]), headers, content)

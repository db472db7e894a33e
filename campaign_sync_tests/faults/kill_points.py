"""The named points of a replacement at which a process can be killed. Only for processes that are run for this."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, event

from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.optimizely.transport import Transport
from campaign_sync_tests.faults.proxy import operation_of

_WRITES = "campaign_sync_tests.writes"
"""The key in a connection's `info` of what it has written since its last commit."""


class KillPoints:
    """The points that this process has passed, in order; at `kill_at` it is killed by SIGKILL."""

    def __init__(self, kill_at: str | None) -> None:
        self.passed: list[str] = []
        self._kill_at = kill_at
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, moment: str, doing: str) -> None:
        """Pass the next point, `<moment> <doing> #<its number among those of this name>`, or be killed there."""
        with self._lock:
            self._counts[f"{moment} {doing}"] += 1
            point = f"{moment} {doing} #{self._counts[f'{moment} {doing}']}"
            self.passed.append(point)
            if point == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()  # with other threads alive it may take the system a moment

    @contextmanager
    def around(self, doing: str) -> Iterator[None]:
        """Pass one point before the context and one after it."""
        self.reach("before", doing)
        yield
        self.reach("after", doing)


@contextmanager
def watched(points: KillPoints) -> Iterator[None]:
    """Have every call to the vendor and every write to a database pass its points until the context ends."""
    post, commit, record_unsubscribes = Transport.post, Connection._commit_impl, SqlCrm.record_unsubscribes

    def posting(transport: Transport, service: str, envelope: bytes, **options: Any) -> Any:
        with points.around(f"{service}.{operation_of(envelope)}"):
            return post(transport, service, envelope, **options)

    def recording(crm: SqlCrm, *arguments: Any) -> Any:
        with points.around("record_unsubscribes"):
            return record_unsubscribes(crm, *arguments)

    def executing(connection: Connection, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        kind = next((kind for kind in ("insert", "update", "delete") if getattr(context, f"is{kind}", False)), None)
        if kind:
            write = f"{kind} {context.compiled.statement.table.name}"
            points.reach("before", write)
            connection.info.setdefault(_WRITES, []).append(write)

    def committing(connection: Connection) -> None:
        writes = " and ".join(connection.info.pop(_WRITES, []))
        if writes:
            points.reach("before commit of", writes)
        commit(connection)
        if writes:
            points.reach("after", writes)

    with ExitStack() as stack:
        stack.enter_context(patch.object(Transport, "post", posting))
        stack.enter_context(patch.object(SqlCrm, "record_unsubscribes", recording))
        stack.enter_context(patch.object(Connection, "_commit_impl", committing))
        event.listen(Engine, "before_cursor_execute", executing)
        stack.callback(event.remove, Engine, "before_cursor_execute", executing)
        yield

"""SQL statements, compiled once per process for all databases on SQLite: else every test compiles them anew."""

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_REMEMBERED = 5_000


def compile_once(patch: pytest.MonkeyPatch) -> None:
    """Let all engines on SQLite share the statements that they have compiled, which SQLAlchemy finds by dialect."""
    compiled: LRUCache[Any, Any] = LRUCache(_REMEMBERED)

    def share(engine: Engine) -> None:
        engine._compiled_cache = compiled

    patch.setattr(SQLiteDialect_pysqlite, "engine_created", share)
    patch.setattr(SQLiteDialect_pysqlite, "__eq__", lambda dialect, other: type(dialect) is type(other))
    patch.setattr(SQLiteDialect_pysqlite, "__hash__", lambda dialect: hash(type(dialect)))

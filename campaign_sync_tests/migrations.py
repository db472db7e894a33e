"""Alembic's scripts, ours and Dagster's, read once per process."""

from collections.abc import Callable

from alembic.config import Config
from alembic.script import ScriptDirectory


def reading_once() -> Callable[[Config], ScriptDirectory]:
    """Return a `ScriptDirectory.from_config` that reads every folder of scripts once only."""
    read: dict[tuple[str | None, str | None], ScriptDirectory] = {}
    from_config = ScriptDirectory.from_config

    def read_once(config: Config) -> ScriptDirectory:
        place = (config.get_main_option("script_location"), config.get_main_option("version_locations"))
        if place not in read:
            read[place] = from_config(config)
        return read[place]

    return read_once

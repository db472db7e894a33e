"""The small CRM of the contract, read as one that has to be copied."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import SecretStr

from campaign_sync.config import SqlSettings
from campaign_sync.config.crm import ConsentKindSettings, CrmSettings
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm, CrmNeeds, Pick
from campaign_sync.crm.sql.open import open_sql
from campaign_sync.crm.sql.schema import contact
from campaign_sync.domain.consent import STANDARD_WORDS_ONLY, ConsentWords
from campaign_sync_tests.crm.mirror.memories import ListMemory
from campaign_sync_tests.crm.mirror.sources import ContractSource
from campaign_sync_tests.crm.small_crm import EVERYBODY, SmallCrm

ALL_COLUMNS = frozenset(contact.c.keys())
"""The columns of people that tests name in lists."""


def copied(
    source: Any,
    folder: Path,
    picks: frozenset[Pick] = frozenset(),
    *,
    memory: ListMemory | None = None,
    max_age: timedelta = timedelta(0),
    words: ConsentWords = STANDARD_WORDS_ONLY,
    **settings: Any,
) -> MirrorCrm:
    """Return a CRM on a source whose people are copied anew for every snapshot, unless `max_age` is given."""
    section = CrmSettings(adapter="test", consent_kinds=kind_settings(words), **settings)
    section = section.model_copy(update={"people_max_age": max_age})
    return MirrorCrm(source, section, CrmContext(CrmNeeds(picks), memory or ListMemory(), folder), "test")


def kind_settings(words: ConsentWords) -> ConsentKindSettings:
    return ConsentKindSettings(
        granted=tuple(words.granted), withdrawn=tuple(words.withdrawn), ignored=tuple(words.ignored)
    )


class CopiedSmallCrm(SmallCrm):
    """A `SmallCrm` on SQLite whose `crm` reads a copy."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        self.folder, self.memory, self.wanted = folder, ListMemory(), {EVERYBODY}

    @property
    def crm(self) -> Crm:
        """The CRM as the product reads it, with the words of `words`."""
        source = ContractSource(self.url)
        picks = source.all_picks() | self.wanted
        return copied(source, self.folder, picks, memory=self.memory, words=self.words)

    def selected(
        self, pick: Pick = EVERYBODY, opt_in_id: str = "news", columns: Sequence[str] = (), chunk_rows: int = 20_000
    ) -> pd.DataFrame:
        self.wanted.add(pick)
        return super().selected(pick, opt_in_id, columns, chunk_rows)


class MariaSmallCrm(CopiedSmallCrm):
    """A `SmallCrm` on MariaDB, read and written as the product does."""

    columns: frozenset[str] = frozenset()

    @property
    def crm(self) -> Crm:
        """The CRM as the product reads it, with the words of `words`."""
        section = SqlSettings(url=SecretStr(self.url), consent_kinds=kind_settings(self.words))
        section = section.model_copy(update={"people_max_age": timedelta(0)})
        picks = ContractSource(self.url).all_picks() | self.wanted
        return open_sql(section, CrmContext(CrmNeeds(picks, ALL_COLUMNS | self.columns), self.memory, self.folder))

    def selected(
        self, pick: Pick = EVERYBODY, opt_in_id: str = "news", columns: Sequence[str] = (), chunk_rows: int = 20_000
    ) -> pd.DataFrame:
        self.columns = frozenset(columns)
        return super().selected(pick, opt_in_id, columns, chunk_rows)

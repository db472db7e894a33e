"""What the mapped tables of a CRM hold, for people who set it up: counts, and which columns are filled. No values."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign_sync.config import SqlSettings
from campaign_sync.config.crm import PEOPLE
from campaign_sync.config.crm_sql import CONTRACT_COLUMNS
from campaign_sync.crm.port import CrmNeeds
from campaign_sync.crm.sql.engine import crm_engine, crm_errors, read_only
from campaign_sync.crm.sql.mapped_streams import MappedStreams, has_column
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import state_kind
from campaign_sync.domain.text import format_row_count

_SAMPLED_ROWS = 3


@dataclass(frozen=True)
class TableSample:
    """What is known of a mapped table."""

    place: str
    """Where it is configured."""
    rows: int
    filled: Sequence[Sequence[str]]
    """The columns that are filled in each of the first rows."""
    kinds: Counter[ConsentKind | None]
    """How many consents mean what; None for words that are ignored. Empty for tables without consents."""

    @property
    def is_understood(self) -> bool:
        """Whether there are rows, and every word for a consent is understood."""
        return self.rows > 0 and not self.kinds[ConsentKind.UNCLEAR]

    @property
    def summary(self) -> str:
        """The sample in words."""
        parts: list[str] = [format_row_count(self.rows)]
        if self.kinds:
            parts.append(", ".join(f"{count} {_KINDS[kind]}" for kind, count in self.kinds.most_common()))
        parts += [
            f"row {number} has {', '.join(columns) or 'nothing'}" for number, columns in enumerate(self.filled, start=1)
        ]
        return "; ".join(parts)


_KINDS: dict[ConsentKind | None, str] = {
    ConsentKind.GRANTED: "granted",
    ConsentKind.CONFIRMED: "confirmed",
    ConsentKind.WITHDRAWN: "withdrawn",
    ConsentKind.UNCLEAR: "not understood (declare the word in crm.consent_kinds)",
    None: "neither",
}


def sample_tables(settings: SqlSettings, needs: CrmNeeds) -> Iterator[TableSample]:
    """Yield a sample of every mapped table, all of the same moment.

    Raises:
        CrmError: the CRM can't be reached, or a table can't be read.
    """
    engine = crm_engine(settings.url.get_secret_value())
    with crm_errors(engine, "reading samples"), read_only(engine) as connection:
        streams = MappedStreams(connection)
        for name in settings.mapped_tables():
            yield _sample(streams, settings, name, needs)


def _sample(streams: MappedStreams, settings: SqlSettings, name: str, needs: CrmNeeds) -> TableSample:
    mapping = settings.mapped_tables()[name]
    relation = streams.relation(mapping, f"crm.tables.{name}")
    others = sorted(needs.columns - set(CONTRACT_COLUMNS[name])) if name in PEOPLE else []
    columns = [column for column in (*CONTRACT_COLUMNS[name], *others) if has_column(relation, mapping, column)]
    kinds: Counter[ConsentKind | None] = Counter()
    if name in ("consent_event", "consent_state"):
        for word, count in streams.counts(relation, "kind", mapping):
            words = settings.consent_kinds.words
            kinds[state_kind(word, words) if name == "consent_state" else words.kind_of(word)] += count
    rows = streams.rows(relation, columns, mapping, limit=_SAMPLED_ROWS)
    filled = [
        [column for column, value in zip(columns, row, strict=True) if value not in (None, "")]
        for chunk in rows.chunks
        for row in chunk
    ]
    return TableSample(relation.place, rows.expected(), filled, kinds)

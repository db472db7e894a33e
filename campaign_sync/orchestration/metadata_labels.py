"""The labels of what assets, checks and runs show in Dagster's UI, in the language in which people read it.

Metadata are made with English keys. `labelled` translates them where they are handed to Dagster; `unlabelled` gives
back the English ones to code that reads what Dagster has recorded, in whichever language that was.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import dagster as dg

from campaign_sync.domain.message import LANGUAGES, Language, Message
from campaign_sync.domain.printable_text import printable
from campaign_sync.localization.catalogs import translate

LABELS: Final = frozenset({
    # What an asset is about.
    Message("mandator"), Message("mandator id"), Message("list"), Message("recipient list id"), Message("opt-in"),
    Message("marketing_list"), Message("report"), Message("query"), Message("filter"), Message("excluded"),
    Message("strategy"), Message("daily report"), Message("readers"), Message("folder"),
    # Of every run.
    Message("seconds"), Message("people of"), Message("consents of"), Message("age of the data"),
    # Rows that are turned away, and checks.
    Message("stage"), Message("reason"), Message("meaning"), Message("rows"), Message("check"), Message("checks"),
    Message("found"), Message("rows checked"), Message("failing rows"), Message("failures"), Message("code"),
    Message("column"), Message("cases"), Message("mistakes"), Message("missing"), Message("run"),
    Message("rejected"), Message("rejections"), Message("dropped"), Message("refused"), Message("swept"),
    Message("by reason"), Message("rows with faulty data"), Message("expected"),
    # Selection and snapshot.
    Message("picked"), Message("selected"), Message("in exclusions"), Message("snapshot"), Message("file"),
    Message("digest of the rows"),
    # Replacement.
    Message("sent"), Message("accepted"), Message("in list"), Message("proof"), Message("digest of the list"),
    Message("batches"), Message("seconds incomplete"), Message("journal"), Message("replace"), Message("call"),
    Message("calls"), Message("outcome"), Message("detail"), Message("begun"),
    # Plan and approval.
    Message("plan"), Message("to approve"), Message("verdict"), Message("rows to send"), Message("in list now"),
    Message("compared with"), Message("joins"), Message("leaves"), Message("changes"), Message("not compared"),
    Message("expected seconds"), Message("step"), Message("not sent"), Message("changes by reason or attribute"),
    Message("change"), Message("why"), Message("people"), Message("approved by"), Message("approved at"),
    Message("holds"), Message("what follows"),
    # Feedback and responses.
    Message("windows"), Message("since (vendor's clock)"), Message("until (vendor's clock)"), Message("window hours"),
    Message("files"), Message("reader"), Message("digest"), Message("files not available"), Message("rows not read"),
    Message("not read"), Message("hours"), Message("freshness"), Message("rows that didn't fit"), Message("new"),
    Message("known before"), Message("written to the CRM"), Message("known to the CRM before"),
    Message("without a campaign in the CRM"), Message("recipient unknown"),
    # Suppression.
    Message("bounces read"), Message("unsubscribes read"), Message("replies that are no bounces"),
    Message("new in the CRM"), Message("unmatched"), Message("refused by the CRM"),
    Message("waiting for their consents in the CRM"), Message("unsubscribes that name a known opt-in"),
    Message("unsubscribes that name another opt-in"), Message("opt-outs whose row is awaited"),
    Message("opt-outs whose row didn't come"), Message("suppressed"), Message("vanished withdrawals accepted"),
    Message("rows about ids that are no address"), Message("unsubscribes older than the consent"),
    Message("released by the blocklist"), Message("feedback age hours"), Message("opt-out to CRM, hours"),
    Message("opt-out to absence, hours"), Message("median"), Message("95 %"), Message("longest"),
    Message("opt-outs"), Message("naming an opt-in"), Message("ids that are no address"),
    Message("older than the consent"), Message("silent readers"), Message("hours since the newest change"),
    # Audit, drift and report.
    Message("asked about"), Message("missing in the CRM"), Message("consenting here, unsubscribed at the vendor"),
    Message("left another opt-in, unsubscribed at the vendor"), Message("newly found on the blocklist"),
    Message("withdrawn in the CRM only"), Message("unsubscribed at the vendor"), Message("entries of the blocklist"),
    Message("consenting here"), Message("lists"), Message("lists changed"),
    Message("lists not checked"), Message("lists ready"), Message("joined"), Message("left"), Message("page"),
    # Purging.
    Message("ticks"), Message("runs"), Message("runs without events"), Message("snapshots"), Message("imports"),
    Message("report pages"), Message("plans"), Message("days of responses"), Message("write-backs"), Message("names"),
    Message("selections of removed lists"),
})  # fmt: skip
"""The keys of metadata, and of the columns of their tables. `A: B` is made of two of them, or of one and a name."""


def labelled(metadata: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Return metadata as people read them: keys, messages among the values, and both in tables."""
    return {_label(key, language): _value(value, language) for key, value in metadata.items()}


def unlabelled(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata by their English keys, whichever language they were written in."""
    return {_relabel(key, _english()): value for key, value in metadata.items()}


def _label(key: str, language: Language) -> str:
    return translate(key, language) if isinstance(key, Message) else _relabel(key, _labels(language))


def _relabel(key: str, labels: Mapping[str, str]) -> str:
    """Return a key by other words. Others than `LABELS`, such as Dagster's own, stay as they are."""
    if key in labels:
        return labels[key]
    return ": ".join(labels.get(part, part) for part in key.split(": "))


@cache
def _labels(language: Language) -> dict[str, str]:
    return {str(label): translate(label, language) for label in LABELS}


@cache
def _english() -> dict[str, str]:
    return {translate(label, language): str(label) for label in LABELS for language in LANGUAGES}


def _value(value: Any, language: Language) -> Any:
    if isinstance(value, str):
        return printable(translate(value, language))
    if isinstance(value, dg.TableMetadataValue):
        return dg.MetadataValue.table([dg.TableRecord(labelled(record.data, language)) for record in value.records])
    return value

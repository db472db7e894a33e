"""Every text of the report in both languages, and how each writes numbers, moments and spans of time."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from campaign_sync.config import Language
from campaign_sync.domain.rejection import Reason
from campaign_sync.reports.daily_report import NOT_PICKED

TEXTS: Final[dict[str, dict[Language, str]]] = {
    "title": {"de": "Empfängerlisten {mandator}", "en": "Recipient lists of {mandator}"},
    "made_at": {"de": "Stand: {moment} ({zone})", "en": "As of {moment} ({zone})"},
    # The headline: one sentence.
    "all_ready": {
        "de": "Alle {count} Listen sind bereit für die Mailings von heute.",
        "en": "All {count} lists are ready for today’s mailings.",
    },
    "both_ready": {
        "de": "Beide Listen sind bereit für die Mailings von heute.",
        "en": "Both lists are ready for today’s mailings.",
    },
    "one_ready": {
        "de": "Die Liste {names} ist bereit für die Mailings von heute.",
        "en": "The list {names} is ready for today’s mailings.",
    },
    "incomplete_one": {
        "de": "{names} ist unvollständig – bitte nichts dorthin senden, ein Teil der Empfänger fehlt",
        "en": "{names} is incomplete – please send nothing to it, some recipients are missing",
    },
    "incomplete_many": {
        "de": "{names} sind unvollständig – bitte nichts dorthin senden, ein Teil der Empfänger fehlt",
        "en": "{names} are incomplete – please send nothing to them, some recipients are missing",
    },
    "renewing_one": {
        "de": "{names} wird gerade erneuert – bitte erst senden, wenn das fertig ist",
        "en": "{names} is being renewed right now – please don’t send before that is done",
    },
    "renewing_many": {
        "de": "{names} werden gerade erneuert – bitte erst senden, wenn das fertig ist",
        "en": "{names} are being renewed right now – please don’t send before that is done",
    },
    "old_one": {
        "de": "{names} wurde heute nicht erneuert – wer sich seitdem abgemeldet hat, kann noch darin stehen",
        "en": "{names} hasn’t been renewed today – anybody who has opted out since may still be in it",
    },
    "old_many": {
        "de": "{names} wurden heute nicht erneuert – wer sich seitdem abgemeldet hat, kann noch darin stehen",
        "en": "{names} haven’t been renewed today – anybody who has opted out since may still be in them",
    },
    "never_one": {
        "de": "{names} wurde noch nie vollständig gefüllt – bitte noch nichts dorthin senden",
        "en": "{names} has never been filled completely – please send nothing to it yet",
    },
    "never_many": {
        "de": "{names} wurden noch nie vollständig gefüllt – bitte noch nichts dorthin senden",
        "en": "{names} have never been filled completely – please send nothing to them yet",
    },
    "doubtful_one": {
        "de": "{names} scheint nur halb gefüllt zu sein – bitte nichts dorthin senden",
        "en": "{names} looks half full – please send nothing to it",
    },
    "doubtful_many": {
        "de": "{names} scheinen nur halb gefüllt zu sein – bitte nichts dorthin senden",
        "en": "{names} look half full – please send nothing to them",
    },
    "drifted_one": {
        "de": "{names} wurde nach dem Nachweis bei Optimizely verändert – bitte nichts dorthin senden",
        "en": "{names} has been changed at Optimizely since the proof – please send nothing to it",
    },
    "drifted_many": {
        "de": "{names} wurden nach dem Nachweis bei Optimizely verändert – bitte nichts dorthin senden",
        "en": "{names} have been changed at Optimizely since the proof – please send nothing to them",
    },
    "failed_one": {
        "de": "{names} wurde beim letzten Versuch nicht erneuert – wer sich seitdem abgemeldet hat, kann noch darin "
        "stehen",
        "en": "{names} wasn’t renewed at the last attempt – anybody who has opted out since may still be in it",
    },
    "failed_many": {
        "de": "{names} wurden beim letzten Versuch nicht erneuert – wer sich seitdem abgemeldet hat, kann noch darin "
        "stehen",
        "en": "{names} weren’t renewed at the last attempt – anybody who has opted out since may still be in them",
    },
    "feedback_old_one": {
        "de": "{names} ist vollständig, aber neuere Abmeldungen sind nicht bekannt – wer sich seitdem abgemeldet hat, "
        "kann noch darin stehen",
        "en": "{names} is complete, but newer opt-outs aren’t known – anybody who has opted out since may still be "
        "in it",
    },
    "feedback_old_many": {
        "de": "{names} sind vollständig, aber neuere Abmeldungen sind nicht bekannt – wer sich seitdem abgemeldet "
        "hat, kann noch darin stehen",
        "en": "{names} are complete, but newer opt-outs aren’t known – anybody who has opted out since may still be "
        "in them",
    },
    "check_failed_one": {
        "de": "{names} ist vollständig, aber eine Prüfung ist fehlgeschlagen – bitte vor dem Senden nachfragen",
        "en": "{names} is complete, but a check has failed – please ask before you send",
    },
    "check_failed_many": {
        "de": "{names} sind vollständig, aber eine Prüfung ist fehlgeschlagen – bitte vor dem Senden nachfragen",
        "en": "{names} are complete, but a check has failed – please ask before you send",
    },
    "check_missing_one": {
        "de": "{names} ist vollständig, aber das Ergebnis einer Prüfung fehlt – bitte vor dem Senden nachfragen",
        "en": "{names} is complete, but the result of a check is missing – please ask before you send",
    },
    "check_missing_many": {
        "de": "{names} sind vollständig, aber das Ergebnis einer Prüfung fehlt – bitte vor dem Senden nachfragen",
        "en": "{names} are complete, but the result of a check is missing – please ask before you send",
    },
    "unknown_one": {
        "de": "{names} ist vollständig, aber ob ein neuerer Versuch gescheitert ist, ist nicht bekannt – bitte vor dem "
        "Senden nachfragen",
        "en": "{names} is complete, but it isn’t known whether a newer attempt has failed – please ask before you send",
    },
    "unknown_many": {
        "de": "{names} sind vollständig, aber ob ein neuerer Versuch gescheitert ist, ist nicht bekannt – bitte vor "
        "dem Senden nachfragen",
        "en": "{names} are complete, but it isn’t known whether a newer attempt has failed – please ask before you "
        "send",
    },
    "others_ready_one": {"de": "{names} ist bereit", "en": "{names} is ready"},
    "others_ready_many": {"de": "{names} sind bereit", "en": "{names} are ready"},
    "since": {"de": "{name} (seit {moment})", "en": "{name} (since {moment})"},
    "as_of": {"de": "{name} (Stand {moment})", "en": "{name} (as of {moment})"},
    "feedback_as_of": {"de": "{name} (Abmeldungen bis {moment})", "en": "{name} (opt-outs up to {moment})"},
    "and": {"de": "und", "en": "and"},
    # A list.
    "lists": {"de": "Die Listen", "en": "The lists"},
    "status_ready": {"de": "bereit", "en": "ready"},
    "status_old": {"de": "nicht von heute", "en": "not from today"},
    "status_renewing": {"de": "wird erneuert", "en": "being renewed"},
    "status_incomplete": {"de": "unvollständig", "en": "incomplete"},
    "status_never": {"de": "nie gefüllt", "en": "never filled"},
    "status_doubtful": {"de": "vermutlich halb voll", "en": "looks half full"},
    "status_drifted": {"de": "verändert", "en": "changed"},
    "status_failed": {"de": "nicht erneuert", "en": "not renewed"},
    "status_feedback_old": {"de": "Abmeldungen veraltet", "en": "opt-outs outdated"},
    "status_check_failed": {"de": "Prüfung fehlgeschlagen", "en": "check failed"},
    "status_check_missing": {"de": "Prüfung fehlt", "en": "check missing"},
    "status_unknown": {"de": "nicht bekannt", "en": "not known"},
    "people_in_it": {"de": "Menschen in der Liste", "en": "people in the list"},
    "people_then": {"de": "Menschen beim letzten Nachweis", "en": "people at the last proof"},
    "against": {"de": "{change} gegenüber {day}", "en": "{change} since {day}"},
    "yesterday": {"de": "gestern", "en": "yesterday"},
    "no_comparison": {"de": "noch kein früherer Tag zum Vergleich", "en": "no earlier day to compare with yet"},
    "proven_at": {"de": "Nachgewiesen", "en": "Proven"},
    "rows_equal": {
        "de": "{count} von {count}",
        "en": "{count} of {count}",
    },
    "incomplete_for": {"de": "Dabei unvollständig für", "en": "Incomplete while filled"},
    "incomplete_since": {"de": "Unvollständig seit", "en": "Incomplete since"},
    "looked_at": {"de": "Seitdem gezählt", "en": "Counted since"},
    "people_at": {"de": "{count} ({moment})", "en": "{count} ({moment})"},
    "not_looked_at": {"de": "Nicht überprüfbar seit", "en": "Can’t be checked since"},
    "drift_missing": {"de": "Ohne Grund verschwunden", "en": "Gone without a reason"},
    "drift_changed": {"de": "Mit anderen Werten", "en": "With other values"},
    "drift_departed": {"de": "Seitdem abgemeldet oder gesperrt", "en": "Opted out or blocked since"},
    "drift_strange": {"de": "Bei Optimizely dazugekommen", "en": "Added at Optimizely"},
    "no_proof": {"de": "noch keiner", "en": "none yet"},
    "joined": {"de": "Dazugekommen", "en": "Joined"},
    "left": {"de": "Gegangen", "en": "Left"},
    "movement_since": {"de": "Seit dem Nachweis vom {moment}", "en": "Since the proof of {moment}"},
    "movement_unknown": {
        "de": "Wer kam und ging, lässt sich nicht vergleichen: Ein Schnappschuss ist nicht mehr lesbar.",
        "en": "Who joined and left can’t be compared: a snapshot can’t be read any more.",
    },
    "movement_uncertain": {
        "de": "Bei bis zu {count} Menschen ist offen, ob sie damals in der Liste standen.",
        "en": "Of up to {count} people it is open whether they were in the list then.",
    },
    "sizes": {"de": "Größe von {name} in den letzten {days} Tagen", "en": "Size of {name} in the last {days} days"},
    "sizes_told": {
        "de": "Zwischen {least} und {most}, nachgewiesen an {proven} von {days} Tagen.",
        "en": "Between {least} and {most}, proven on {proven} of {days} days.",
    },
    "sizes_axis": {"de": "Die Achse beginnt nicht bei null.", "en": "The axis doesn’t begin at zero."},
    "sizes_none": {"de": "In diesen Tagen wurde nichts nachgewiesen.", "en": "Nothing was proven on these days."},
    "broke_off": {"de": "abgebrochen, Liste unvollständig", "en": "broke off, list incomplete"},
    # Why people are kept out.
    "why": {"de": "Warum Menschen nicht in den Listen stehen", "en": "Why people aren’t in the lists"},
    "left_now": {"de": "Warum Menschen zuletzt gegangen sind", "en": "Why people have left most recently"},
    "left_now_told": {
        "de": "Wer beim letzten Nachweis eines früheren Tages in einer Liste stand und beim jüngsten nicht mehr. "
        "Wer zwei Listen verlassen hat, zählt zweimal.",
        "en": "Who was in a list at the last proof of an earlier day and isn’t at the newest one. Who has left two "
        "lists counts twice.",
    },
    "left_nobody": {"de": "Niemand ist gegangen.", "en": "Nobody has left."},
    "left_unknown": {
        "de": "Noch gibt es keine zwei Tage zu vergleichen.",
        "en": "There are no two days to compare yet.",
    },
    "newly": {"de": "Neu ausgeschlossen, Tag für Tag", "en": "Newly kept out, day by day"},
    "newly_told": {
        "de": "Wer zum ersten Mal aus einem Grund nicht in eine Liste durfte, über alle Listen gezählt, ohne deren "
        "ersten Tag. Wer wiederkommt und aus demselben Grund noch einmal geht, zählt nur beim ersten Mal.",
        "en": "Who wasn’t let into a list for the first time for some reason, counted over all lists, without their "
        "first day. Who comes back and leaves again for the same reason counts the first time only.",
    },
    "newly_nobody": {
        "de": "In den letzten {days} Tagen wurde niemand neu ausgeschlossen.",
        "en": "In the last {days} days nobody was newly kept out.",
    },
    "newly_total": {
        "de": "Neu ausgeschlossen in {days} Tagen, nach Grund",
        "en": "Newly kept out in {days} days, by reason",
    },
    "kept_out": {"de": "Ausgewählt, aber nicht in der Liste", "en": "Picked, but not in the list"},
    "kept_out_told": {
        "de": "Alle, die das CRM ausgewählt hat und die beim letzten Nachweis nicht hinein durften, auch seit langem.",
        "en": "Everybody whom the CRM has picked and who wasn’t let in at the last proof, also since long ago.",
    },
    "kept_out_nobody": {
        "de": "Alle Ausgewählten stehen in den Listen.",
        "en": "Everybody who was picked is in the lists.",
    },
    "kept_out_unknown": {
        "de": "Nicht mitgezählt: {names}. Dort gab es nach dem letzten Nachweis noch einen Lauf.",
        "en": "Not counted: {names}. There was another run after the last proof.",
    },
    "refused": {"de": "Von Optimizely abgelehnt", "en": "Refused by Optimizely"},
    "refused_told": {
        "de": "Zeilen, die Optimizely beim Füllen nicht angenommen hat, mit seiner Begründung, in {days} Tagen.",
        "en": "Rows that Optimizely didn’t take while lists were filled, by its reason, in {days} days.",
    },
    "refused_nobody": {
        "de": "Optimizely hat in den letzten {days} Tagen jede Zeile angenommen.",
        "en": "Optimizely has taken every row in the last {days} days.",
    },
    # Feedback.
    "opt_outs": {"de": "Abmeldungen", "en": "Opt-outs"},
    "age": {"de": "Wie aktuell die Rückmeldungen sind", "en": "How recent the feedback is"},
    "age_told": {
        "de": "Bis wann das CRM weiß, wer sich abgemeldet hat oder nicht erreichbar war. Ab {warns} eine Warnung; "
        "ab {stops} wird keine Liste mehr ersetzt; ab {alarms} drohen Abmeldungen verloren zu gehen.",
        "en": "Up to when the CRM knows who has opted out or couldn’t be reached. A warning from {warns} on; "
        "from {stops} on no list is replaced; from {alarms} on opt-outs are about to be lost.",
    },
    "age_never": {"de": "noch nie abgeholt", "en": "never fetched yet"},
    "age_ago": {"de": "vor {span}", "en": "{span} ago"},
    "limit_warns": {"de": "Warnung", "en": "warning"},
    "limit_stops": {"de": "Stopp", "en": "stop"},
    "limit_alarms": {"de": "Alarm", "en": "alarm"},
    "reader_getOutBounces": {"de": "Unzustellbar", "en": "Bounces"},
    "reader_getResponses": {"de": "Antworten des Mailservers", "en": "Replies of mail servers"},
    "reader_getUnsubscribes": {"de": "Abmeldungen", "en": "Unsubscribes"},
    "reader_getMailingUnsubscribes": {"de": "Abmeldungen je Mailing", "en": "Unsubscribes by mailing"},
    "absence": {
        "de": "Wie schnell eine Abmeldung in allen Listen wirkt",
        "en": "How soon an opt-out holds in every list",
    },
    "absence_told": {
        "de": "Von {count} Abmeldungen der letzten {days} Tage war die Hälfte nach {median} aus allen Listen, "
        "95 % nach {p95}, die letzte nach {longest}. Was noch läuft, zählt bis jetzt. Ziel: 24 Stunden.",
        "en": "Of {count} opt-outs of the last {days} days half were out of every list within {median}, "
        "95 % within {p95}, the last one after {longest}. What is still going on counts up to now. "
        "The goal: 24 hours.",
    },
    "absence_crm": {"de": "Im CRM stand die Hälfte nach {median}.", "en": "Half were in the CRM within {median}."},
    "absence_nobody": {
        "de": "In den letzten {days} Tagen hat sich niemand abgemeldet.",
        "en": "Nobody has opted out in the last {days} days.",
    },
    "within": {"de": "innerhalb von {span}", "en": "within {span}"},
    "later": {"de": "nach mehr als {span}", "en": "after more than {span}"},
    # The proof.
    "proof": {"de": "Der Nachweis", "en": "The proof"},
    "proof_told": {
        "de": "Nach dem Füllen wird jede Liste zurückgelesen und Zeile für Zeile mit dem Schnappschuss verglichen, "
        "aus dem sie gefüllt wurde. Der Schnappschuss wird nie mehr verändert; seine Prüfsumme weist das nach.",
        "en": "Once filled, every list is read back and compared row by row with the snapshot that it was filled from. "
        "The snapshot is never changed again; its digest proves that.",
    },
    "snapshot": {"de": "Schnappschuss", "en": "Snapshot"},
    "digest": {"de": "Prüfsumme (SHA-256)", "en": "Digest (SHA-256)"},
    "frozen_at": {"de": "Eingefroren", "en": "Frozen"},
    "equal": {"de": "Gleiche Zeilen", "en": "Equal rows"},
    # Tables.
    "numbers": {"de": "Zahlen als Tabelle", "en": "Numbers as a table"},
    "list": {"de": "Liste", "en": "List"},
    "day": {"de": "Tag", "en": "Day"},
    "people": {"de": "Menschen", "en": "People"},
    "dropped": {"de": "zuletzt noch entfernt", "en": "dropped at the last look"},
    "refused_column": {"de": "abgelehnt", "en": "refused"},
    "swept": {"de": "danach entfernt", "en": "swept afterwards"},
    "incomplete_column": {"de": "unvollständig", "en": "incomplete"},
    "reason": {"de": "Grund", "en": "Reason"},
    "today": {"de": "Letzter Nachweis", "en": "Last proof"},
    "lately": {"de": "{days} Tage", "en": "{days} days"},
    "all_lists": {"de": "Alle Listen", "en": "All lists"},
    "source": {"de": "Quelle", "en": "Source"},
    "age_column": {"de": "Alter", "en": "Age"},
    "wait": {"de": "Dauer", "en": "Time taken"},
    "total": {"de": "Summe", "en": "Total"},
    "footer": {
        "de": "Nur Zahlen, keine Personen. Erstellt von campaign_sync.",
        "en": "Numbers only, no people. Made by campaign_sync.",
    },
}
"""Each text in both languages; `{…}` stands for what is put in."""

REASONS: Final[dict[str, dict[Language, str]]] = {
    Reason.NO_CONSENT: {"de": "Keine Einwilligung", "en": "No consent"},
    Reason.CONSENT_WITHDRAWN: {"de": "Einwilligung widerrufen", "en": "Consent withdrawn"},
    Reason.CONSENT_UNCLEAR: {"de": "Einwilligung unverständlich", "en": "Consent not understood"},
    Reason.CONSENT_IN_FUTURE: {"de": "Einwilligung in der Zukunft", "en": "Consent in the future"},
    Reason.BOUNCED: {"de": "Adresse unzustellbar", "en": "Address bounced"},
    Reason.UNSUBSCRIBED: {"de": "Von den Mailings abgemeldet", "en": "Unsubscribed from mailings"},
    Reason.BLOCKLISTED: {"de": "Auf der Sperrliste", "en": "On the blocklist"},
    Reason.UNKNOWN_ENTITY_TYPE: {"de": "Unbekannte Art von Datensatz", "en": "Unknown kind of record"},
    Reason.NO_ADDRESS: {"de": "Keine E-Mail-Adresse im CRM", "en": "No e-mail address in the CRM"},
    Reason.INVALID_ADDRESS: {"de": "Ungültige E-Mail-Adresse", "en": "Invalid e-mail address"},
    Reason.FORBIDDEN_CHARACTERS: {
        "de": "Zeichen, die nicht gesendet werden können",
        "en": "Characters that can’t be sent",
    },
    Reason.NOT_UTF8: {"de": "Text im CRM ist nicht UTF-8", "en": "Text in the CRM isn’t UTF-8"},
    Reason.MISSING_TECHNICAL_FIELD: {"de": "Pflichtfeld leer", "en": "Mandatory field empty"},
    Reason.DUPLICATE_ADDRESS: {"de": "Adresse steht doppelt im CRM", "en": "Address is in the CRM twice"},
    Reason.ALREADY_IN_LIST: {"de": "War schon in der Liste", "en": "Already in the list"},
    Reason.FILTERED: {"de": "Von einem Filter abgelehnt", "en": "Refused by a filter"},
    Reason.VENDOR_ERROR: {"de": "Fehler bei Optimizely", "en": "Error at Optimizely"},
    Reason.SWEPT: {
        "de": "Nach dem Füllen von Optimizely entfernt",
        "en": "Taken out by Optimizely after filling",
    },
    Reason.SUPPRESSED_MEANWHILE: {
        "de": "Kurz vor dem Füllen abgemeldet oder unzustellbar",
        "en": "Opted out or bounced just before filling",
    },
    Reason.ON_UNSUBSCRIBE_LIST: {
        "de": "Auf der Abmeldeliste von Optimizely",
        "en": "On Optimizely’s unsubscribe list",
    },
    Reason.WITHDRAWAL_VANISHED: {
        "de": "Widerruf, der im CRM verschwunden ist",
        "en": "Withdrawal that has vanished from the CRM",
    },
    Reason.GONE_FROM_CRM: {"de": "Nicht mehr im CRM", "en": "No longer in the CRM"},
    Reason.ADDRESS_CHANGED: {"de": "Adresse im CRM geändert", "en": "Address changed in the CRM"},
    NOT_PICKED: {"de": "Vom CRM nicht mehr ausgewählt", "en": "No longer picked in the CRM"},
}
"""Why somebody isn't in a list, in a few words."""

GROUPS: Final[dict[str, tuple[Reason, ...]]] = {
    "group_opted_out": (
        Reason.UNSUBSCRIBED,
        Reason.CONSENT_WITHDRAWN,
        Reason.ON_UNSUBSCRIBE_LIST,
        Reason.WITHDRAWAL_VANISHED,
    ),
    "group_unreachable": (Reason.BOUNCED, Reason.BLOCKLISTED),
    "group_meanwhile": (Reason.SUPPRESSED_MEANWHILE, Reason.SWEPT, Reason.GONE_FROM_CRM, Reason.ADDRESS_CHANGED),
    "group_no_consent": (Reason.NO_CONSENT, Reason.CONSENT_UNCLEAR, Reason.CONSENT_IN_FUTURE),
    "group_data": (
        Reason.UNKNOWN_ENTITY_TYPE,
        Reason.NO_ADDRESS,
        Reason.INVALID_ADDRESS,
        Reason.FORBIDDEN_CHARACTERS,
        Reason.NOT_UTF8,
        Reason.MISSING_TECHNICAL_FIELD,
        Reason.DUPLICATE_ADDRESS,
        Reason.ALREADY_IN_LIST,
        Reason.FILTERED,
        Reason.VENDOR_ERROR,
    ),
}
"""Reasons that belong together, for pictures that would be too colourful with each of them."""

TEXTS.update(
    {
        "group_opted_out": {"de": "abgemeldet", "en": "opted out"},
        "group_unreachable": {"de": "unzustellbar oder gesperrt", "en": "bounced or blocked"},
        "group_meanwhile": {"de": "in letzter Minute", "en": "at the last minute"},
        "group_no_consent": {"de": "ohne Einwilligung", "en": "no consent"},
        "group_data": {"de": "Daten und Technik", "en": "data and technology"},
    }
)

_WEEKDAYS: Final[dict[Language, tuple[str, ...]]] = {
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS: Final[dict[Language, tuple[str, ...]]] = {
    "de": (
        *("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli"),
        *("August", "September", "Oktober", "November", "Dezember"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June", "July"),
        *("August", "September", "October", "November", "December"),
    ),
}
_UNITS: Final[dict[Language, dict[str, tuple[str, str]]]] = {
    "de": {
        "second": ("Sekunde", "Sekunden"),
        "minute": ("Minute", "Minuten"),
        "hour": ("Stunde", "Stunden"),
        "day": ("Tag", "Tagen"),  # as after “vor”, “nach” and “ab”
    },
    "en": {
        "second": ("second", "seconds"),
        "minute": ("minute", "minutes"),
        "hour": ("hour", "hours"),
        "day": ("day", "days"),
    },
}
"""One, and several."""

_SPACE = "\u00a0"
_DAYS_FROM = timedelta(days=3)


@dataclass(frozen=True)
class Words:
    """One language, and the time zone that moments are told in."""

    language: Language
    zone: ZoneInfo

    def __call__(self, key: str, **parts: object) -> str:
        """A text of `TEXTS`, with its parts put in."""
        return TEXTS[key][self.language].format(**parts)

    def reason(self, reason: str) -> str:
        """A reason in a few words. One that only a newer version knows comes back as it stands."""
        return REASONS[reason][self.language] if reason in REASONS else reason.replace("_", " ")

    def reader(self, reader: str) -> str:
        """What a reader of feedback tells of."""
        key = f"reader_{reader}"
        return self(key) if key in TEXTS else reader

    def number(self, value: float, digits: int = 0) -> str:
        """1.234,5 or 1,234.5."""
        text = f"{value:,.{digits}f}"
        if self.language == "de":
            text = text.translate(str.maketrans(",.", ".,"))
        return text.replace("-", "−")

    def change(self, value: int) -> str:
        """A number with its sign."""
        return f"+{self.number(value)}" if value > 0 else "±0" if value == 0 else self.number(value)

    def day(self, day: date) -> str:
        """24. November 2026, or 24 November 2026."""
        dot = "." if self.language == "de" else ""
        return f"{day.day}{dot} {_MONTHS[self.language][day.month - 1]} {day.year}"

    def long_day(self, day: date) -> str:
        """The date and its day of the week."""
        return f"{_WEEKDAYS[self.language][day.weekday()]}, {self.day(day)}"

    def short_day(self, day: date) -> str:
        """24.11., or 24 Nov."""
        if self.language == "de":
            return f"{day.day}.{day.month}."
        return f"{day.day} {_MONTHS[self.language][day.month - 1][:3]}"

    def brief_day(self, day: date) -> str:
        """24.11.2026, or 24 Nov 2026, in one line."""
        blank = "" if self.language == "de" else _SPACE
        return f"{self.short_day(day)}{blank}{day.year}".replace(" ", _SPACE)

    def moment(self, moment: datetime) -> str:
        """Day and minute."""
        local = moment.astimezone(self.zone)
        hour = f"{local:%H:%M}{_SPACE}Uhr" if self.language == "de" else f"{local:%H:%M}"
        return f"{self.brief_day(local.date())}, {hour}"

    def since(self, moment: datetime, today: date) -> str:
        """The minute of a moment of today, else the day too."""
        local = moment.astimezone(self.zone)
        if local.date() != today:
            return self.moment(moment)
        return f"{local:%H:%M}{_SPACE}Uhr" if self.language == "de" else f"{local:%H:%M}"

    def lasting(self, span: timedelta) -> str:
        """A span of time that stands alone."""
        return self.span(span).removesuffix("n") if self.language == "de" and span >= _DAYS_FROM else self.span(span)

    def span(self, span: timedelta) -> str:
        """Seconds, minutes, hours or days, the unit that says most; in German as it stands after “nach”."""
        seconds = span.total_seconds()
        if span < timedelta(seconds=90):
            unit, text = "second", self.number(seconds if seconds < 1 else round(seconds), 0 if seconds >= 1 else 1)
        elif span < timedelta(hours=1):
            unit, text = "minute", self._short(seconds / 60)
        elif span < _DAYS_FROM:
            unit, text = "hour", self._short(seconds / 3600)
        else:
            unit, text = "day", self._short(seconds / 86_400)
        one, several = _UNITS[self.language][unit]
        return f"{text}{_SPACE}{one if text == '1' else several}"

    def names(self, names: list[str]) -> str:
        """A, B and C."""
        if len(names) < 2:
            return "".join(names)
        return f"{', '.join(names[:-1])} {self('and')} {names[-1]}"

    def _short(self, value: float) -> str:
        """One digit after the point, unless it is zero."""
        return self.number(value) if round(value, 1) == round(value) else self.number(value, 1)

"""The words of a report, in a sentence each. docs/glossary.md has all words, and their German ones."""

from typing import Final

from campaign_sync.reports.localization import Localizer, gettext_noop

_TERMS: Final = (
    (
        gettext_noop("Ready"),
        gettext_noop(
            "The list was filled and proven today, or at most 12 hours ago, the CRM knows the opt-outs of the last "
            "day, and no check has failed."
        ),
    ),
    (
        gettext_noop("Opt-in"),
        gettext_noop("The advertising consent that a list is for. Everybody in the list has granted it."),
    ),
    (
        gettext_noop("Opt-out"),
        gettext_noop("A consent that was withdrawn, in a mailing or in the CRM."),
    ),
    (
        gettext_noop("Bounce"),
        gettext_noop("A mail that couldn’t be delivered. A hard bounce keeps the address out of all lists."),
    ),
    (
        gettext_noop("Blocklist"),
        gettext_noop("Addresses and patterns that are never written to; it is kept in Campaign."),
    ),
    (
        gettext_noop("Check"),
        gettext_noop("A rule that has to hold. A failed one stops the list or needs attention; a warning doesn’t."),
    ),
    (
        gettext_noop("Snapshot"),
        gettext_noop("The rows of a list exactly as they are sent: checked, stored and never changed again."),
    ),
    (
        gettext_noop("Proof"),
        gettext_noop("The list, read back from Campaign and compared row by row with its snapshot."),
    ),
    (
        gettext_noop("Digest"),
        gettext_noop("A number computed from the snapshot’s file, which would differ after the smallest change to it."),
    ),
)


def terms(localizer: Localizer) -> list[tuple[str, str]]:
    """Return the words of a report with what they mean."""
    return [(localizer.gettext(word), localizer.gettext(meaning)) for word, meaning in _TERMS]

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.printable_text import printable
from campaign_sync.optimizely import errors
from campaign_sync.optimizely.errors import from_fault
from campaign_sync.optimizely.fault_text import known_words

SESSION, USERNAME, PASSWORD = "00aa11bb22cc33dd", "nord-api", "geheim-4711"


def fault(text: str) -> errors.OptimizelyError:
    return from_fault("Recipient.addAll3", text, mandator_id=8100, secrets=(SESSION, USERNAME, PASSWORD))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("net.example.WebserviceImplException: Invalid credentials.", errors.CredentialsError),
        (f"InvalidWebserviceSessionException: Invalid sessionId: {SESSION}", errors.SessionExpiredError),
        ("Recipient does not exists for call: recipientId='x'", errors.RefusedError),
        ("Error updating users in userlist 12. Recipients a,b do not exist", errors.RefusedError),
        ("No unsubscribe found", errors.RefusedError),
        ("Mailing does not exist for call: mailingId='71'", errors.RefusedError),
        ("Attribute 'Erstellt am' is read-only for call: recipientListId='12'", errors.RefusedError),
        ("Too many recipients for call: recipientIdsSize=1001", errors.RefusedError),
        ("org.xml.sax.SAXException: Bad types (long -> int)", errors.RefusedError),
        ("[s,1,api] Internal error for call: clear", errors.TransientError),
        ("[s,1,api] Internal error for call: operation not allowed for user", errors.RefusedError),
        ("User is not permitted to call this operation", errors.RefusedError),
        ("not authorized", errors.RefusedError),
        ("java.lang.IllegalStateException: strange", errors.UnknownFaultError),
        ("", errors.UnknownFaultError),
    ],
)
def test_a_fault_becomes_the_right_error(text: str, kind: type[errors.OptimizelyError]) -> None:
    error = fault(text)
    assert type(error) is kind
    assert "Recipient.addAll3 of mandator 8100" in str(error)


def test_the_outcome_is_unknown_only_for_faults_that_leave_it_open() -> None:
    assert fault("Internal error").outcome_unknown
    assert fault("strange").outcome_unknown
    assert not fault("Too many recipients").outcome_unknown
    assert not fault("Invalid credentials.").outcome_unknown


@pytest.mark.parametrize(
    "text",
    [
        f"[{SESSION},8100,{USERNAME}] Internal error",
        f"strange thing with {SESSION} of {USERNAME} and {PASSWORD}",
        "Recipient does not exist for call: recipientId='carla@example.org'",
        "strange carla@example.org",
        "strange <carla@example.org>, \"Dora\", 'Emil'",
        "Recipients anna.beispiel, JÖRG Muster do not exist",
        "strange: Berta O&K",
        "strange list 100000000011 and session ffeeddccbbaa0099",
        "Error updating users. Recipients Muster. Anna, Berta-K. do not exist",
        "Unknown attribute Muster/J\u00f6rg, J&#246;rg, Jo\u0308rg; name=Anna",
        "java.sql.SQLException: Duplicate entry Muster-Anna for key users_berta",
        "com.muster.Anna: berta.Exception",
        "\x1b[31mAnna\u202eMuster",
    ],
)
def test_no_message_holds_personal_data_or_secrets(text: str) -> None:
    shown = f"{fault(text)} {fault(text)!r}".casefold()
    for canary in (SESSION, USERNAME, PASSWORD, "carla", "dora", "emil", "anna", "jörg", "muster", "berta", "ffeedd"):
        assert canary not in shown
    assert "100000000011" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "WebserviceImplException: Error updating users. Recipients a@example.org do not exist",
            "WebserviceImplException: Error updating users. Recipients … do not exist",
        ),
        ("org.xml.sax.SAXException: Bad types (long -> int)", "org.xml.sax.SAXException: Bad types (long -> int)"),
        ("Too many recipients (1001, at most 1000)", "Too many recipients (… at most … )"),
        ("java.sql.SQLException: Deadlock found when trying", "java.sql.SQLException: Deadlock found when …"),
        ("Recipient does not exists for call: recipientId='x'", "Recipient does not exists"),
        ("[s,8100,api] Internal error", "… Internal error"),
        ("x" * 20_000, "its text has 20000 characters"),
        ("", "without a text"),
    ],
)
def test_known_words_of_a_fault_are_shown(text: str, shown: str) -> None:
    assert known_words(text, ()) == shown


@given(st.text(max_size=300))
def test_unknown_words_are_never_shown(text: str) -> None:
    shown = known_words(f"Recipients {text} do not exist", ())

    assert set(re.findall(r"\w+", shown)) <= {"Recipients", "do", "not", "exist"} | set(re.findall(r"\w+", text))
    assert printable(shown) == shown

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
def test_each_fault_becomes_the_error_that_says_what_to_do(text: str, kind: type[errors.OptimizelyError]) -> None:
    error = fault(text)
    assert type(error) is kind
    assert "Recipient.addAll3 of mandator 8100" in str(error)


def test_only_faults_that_leave_the_work_in_doubt_say_so() -> None:
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
def test_nobody_and_nothing_secret_is_in_a_message(text: str) -> None:
    said = f"{fault(text)} {fault(text)!r}".casefold()
    for canary in (SESSION, USERNAME, PASSWORD, "carla", "dora", "emil", "anna", "jörg", "muster", "berta", "ffeedd"):
        assert canary not in said
    assert "100000000011" not in said


@pytest.mark.parametrize(
    ("text", "said"),
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
        ("x" * 20_000, "it gave a text of 20000 characters"),
        ("", "it gave no text"),
    ],
)
def test_what_the_vendor_says_apart_from_that_stays_readable(text: str, said: str) -> None:
    assert known_words(text, ()) == said


@given(st.text(max_size=300))
def test_no_text_brings_a_word_along_that_is_not_known(text: str) -> None:
    said = known_words(f"Recipients {text} do not exist", ())

    assert set(re.findall(r"\w+", said)) <= {"Recipients", "do", "not", "exist"} | set(re.findall(r"\w+", text))
    assert printable(said) == said

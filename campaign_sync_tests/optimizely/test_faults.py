import pytest

from campaign_sync.optimizely import faults
from campaign_sync.optimizely.faults import from_fault, scrub

SESSION, USERNAME, PASSWORD = "00aa11bb22cc33dd", "nord-api", "geheim-4711"
REQUEST = (
    b"<in0>00aa11bb22cc33dd</in0><in1>100000000011</in1><in3><item>anna.beispiel</item><item>J\xc3\xb6rg Muster</item>"
    b"<item>Berta O&amp;K</item></in3>"
)


def fault(text: str) -> faults.OptimizelyError:
    return from_fault("Recipient.addAll3", text, mandator_id=8100, secrets=(SESSION, USERNAME, PASSWORD), sent=REQUEST)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("net.example.WebserviceImplException: Invalid credentials.", faults.CredentialsError),
        (f"InvalidWebserviceSessionException: Invalid sessionId: {SESSION}", faults.SessionExpiredError),
        ("Recipient does not exists for call: recipientId='x'", faults.RefusedError),
        ("Error updating users in userlist 12. Recipients a,b do not exist", faults.RefusedError),
        ("No unsubscribe found", faults.RefusedError),
        ("Mailing does not exist for call: mailingId='71'", faults.RefusedError),
        ("Attribute 'Erstellt am' is read-only for call: recipientListId='12'", faults.RefusedError),
        ("Too many recipients for call: recipientIdsSize=1001", faults.RefusedError),
        ("org.xml.sax.SAXException: Bad types (long -> int)", faults.RefusedError),
        ("[s,1,api] Internal error for call: clear", faults.TransientError),
        ("[s,1,api] Internal error for call: operation not allowed for user", faults.RefusedError),
        ("User is not permitted to call this operation", faults.RefusedError),
        ("not authorized", faults.RefusedError),
        ("java.lang.IllegalStateException: strange", faults.UnknownFaultError),
        ("", faults.UnknownFaultError),
    ],
)
def test_each_fault_becomes_the_error_that_says_what_to_do(text: str, kind: type[faults.OptimizelyError]) -> None:
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
    ],
)
def test_nobody_and_nothing_secret_is_in_a_message(text: str) -> None:
    said = f"{fault(text)} {fault(text)!r}".casefold()
    for canary in (SESSION, USERNAME, PASSWORD, "carla", "dora", "emil", "anna", "jörg", "muster", "berta", "ffeedd"):
        assert canary not in said
    assert "100000000011" not in said


def test_what_the_vendor_says_apart_from_that_stays_readable() -> None:
    said = scrub("WebserviceImplException: Error updating users. Recipients a@example.org do not exist", (), b"")
    assert said == "WebserviceImplException: Error updating users. Recipients … do not exist"

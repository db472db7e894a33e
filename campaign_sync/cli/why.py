"""Why somebody is in a recipient list or isn't."""

from rich.console import Console

from campaign_sync.config import Configuration
from campaign_sync.inquiry.person import understand, unknown
from campaign_sync.inquiry.person_inquiry import LOOK_BACK, Inquiry
from campaign_sync.inquiry.person_report import print_person_reports
from campaign_sync.inquiry.sources import open_sources


def print_why(configuration: Configuration, who: str, console: Console) -> None:
    """Print, for everybody whom `who` names and for every list, whether they are in it, and why.

    Raises:
        CommandError: nobody is known by that name. The message doesn't repeat an address.
    """
    asked = understand(who)
    with open_sources(configuration, console) as sources:
        found = Inquiry(sources).dossiers(asked)
    if not found:
        raise unknown(who, asked, f"the last {LOOK_BACK} snapshots of any list", feedback=True)
    print_person_reports(found, console)

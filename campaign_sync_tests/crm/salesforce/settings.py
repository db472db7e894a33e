"""Settings of the adapter for the stand-in."""

from typing import Any

from pydantic import SecretStr

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.testing import OPT_INS, PRESS
from campaign_sync_tests.crm.salesforce.org import CLIENT_ID, CLIENT_SECRET

NEWSLETTER = {"granted": "Newsletter__c", "at": "Newsletter_Date__c"}
OFFERS = {"granted": "Offers__c", "at": "Offers_Date__c"}


def salesforce_settings(url: str, **changes: Any) -> SalesforceSettings:
    """Return settings with the opt-ins of the conformance tests: two of checkboxes, the third of a purpose."""
    fields = iter([{"contact": NEWSLETTER, "lead": NEWSLETTER, "account": NEWSLETTER}, {"contact": OFFERS}])
    opt_ins = {
        opt_in.opt_in_id: {
            "mandator": opt_in.mandator,
            "description": opt_in.description,
            **({"purpose": "Press"} if opt_in.opt_in_id == PRESS else {"field": next(fields)}),
        }
        for opt_in in OPT_INS
    }
    return SalesforceSettings.model_validate(
        {
            "adapter": "salesforce",
            "url": url,
            "client_id": SecretStr(CLIENT_ID),
            "client_secret": SecretStr(CLIENT_SECRET),
            "contact": {"first_name": "FirstName", "city": "MailingCity"},
            "lead": {"first_name": "FirstName", "city": "City"},
            "account": {"email": "Email__c", "first_name": "Nick__c", "city": "BillingCity"},
            "opt_ins": opt_ins,
            **changes,
        }
    )

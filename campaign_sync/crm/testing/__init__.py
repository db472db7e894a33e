"""Conformance tests for the adapters of CRMs. Needs pytest.

An adapter's author subclasses `CrmConformance` with a fixture `under_test`, and gets every test of the contract.
docs/adapters.md builds an example. What doesn't belong here: tests of one particular adapter.
"""

import pytest

pytest.register_assert_rewrite(  # before they are imported, so that failures show values
    *(f"{__name__}.{module}_tests" for module in ("snapshot", "filter", "consent", "write_back", "error")),
    f"{__name__}.reads",
)

from campaign_sync.crm.testing.conformance import CrmConformance
from campaign_sync.crm.testing.context import crm_context
from campaign_sync.crm.testing.under_test import (
    COLUMNS,
    EVERYBODY,
    NEEDS,
    NEWS,
    NOON,
    OFFERS,
    OPT_INS,
    PRESS,
    REPORT_COLUMN,
    VISITORS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
)

__all__ = [
    "COLUMNS",
    "EVERYBODY",
    "NEEDS",
    "NEWS",
    "NOON",
    "OFFERS",
    "OPT_INS",
    "PRESS",
    "REPORT_COLUMN",
    "VISITORS",
    "Capability",
    "Consent",
    "CrmConformance",
    "CrmUnderTest",
    "Person",
    "crm_context",
]

"""The sources that entries name where the vendor reported something: in the CRM, and in the list of blocked addresses.

All begin with `domain.consent.VENDOR_SOURCE_PREFIX`.
"""

UNSUBSCRIBE_SOURCE = "optimizely:unsubscribes"
"""Source of a withdrawal in the CRM: always the same, so that the same unsubscribe is written once."""

LIVE_LIST_SOURCE = "optimizely:live_look"
"""Source of a withdrawal that was read from the vendor's unsubscribe list just before or after sending."""

AUDIT_SOURCE = "optimizely:audit"
"""Source of a withdrawal that the weekly comparison with the vendor showed."""

ADD_ALL_SOURCE = "optimizely:addAll3"
"""Source of a blocked address that the vendor refused when rows were sent."""

BOUNCE_SOURCE = "optimizely:bounces"
"""Source of a bounce in the CRM."""

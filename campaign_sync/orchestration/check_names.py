"""Names of the checks that are treated apart from the others."""

FEEDBACK_AGE = "feedback_age"
UNCHANGED = "unchanged"
USABLE = "usable"

CHECKS_OF_SENSORS = frozenset({FEEDBACK_AGE})
"""Checks that a sensor evaluates as well: their results don't depend on what becomes of a run."""

CHECKS_WITH_INCIDENTS = frozenset({FEEDBACK_AGE, UNCHANGED})
"""Checks whose incident is derived from the state database, also between two evaluations."""

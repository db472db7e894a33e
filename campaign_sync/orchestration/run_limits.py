"""How often a run is started for the same work without a person: to repair a list, or to complete a day."""

from datetime import timedelta

MAX_RUNS = 20
"""After this number of runs for one incomplete list, or for one day, no further run is started."""

MAX_FRUITLESS = 5
"""After this number of attempts in a row without a further proof no further run is started."""

RETRY_INTERVAL = timedelta(minutes=5)
"""The time between two such runs."""

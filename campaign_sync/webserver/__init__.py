"""Dagster's webserver behind a check of where a request comes from: `python -m campaign_sync.webserver`.

What belongs here: which requests of a browser are refused, and that runs are tagged with the login that the reverse
proxy passes on. Logging in is the proxy's.
"""

"""Dagster's webserver behind a check of where a request comes from: `python -m campaign_sync.webserver`.

What belongs here: which requests of a browser are refused. Logins don't: they are the reverse proxy's.
"""

"""Dagster's webserver behind a check of where a request comes from: `python -m campaign_sync.webserver`."""

"""A marketing team's own Dagster project: its asset refreshes the CRM, then campaign_sync replaces the lists."""

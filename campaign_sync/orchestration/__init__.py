"""All that is Dagster: assets, resources, IO manager, checks, jobs, schedules and sensors.

Each reads from resources, calls the packages below, and returns. Rules, SQL and SOAP belong there, not here.
"""

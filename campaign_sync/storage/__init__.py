"""What the product keeps from day to day: its own tables with their migrations, and its files.

Not here: the CRM's tables (`crm`), what is in Dagster's own database, and decisions about what is stored.
"""

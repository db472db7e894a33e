"""The adapter for a CRM in a SQL database: tables or views that have the names of the contract in docs/crm.md.

What belongs here: all SQL on the CRM. The product's own tables are in `storage`.
"""

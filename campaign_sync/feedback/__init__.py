"""Bounces and unsubscribes on their way into the CRM: fetching, parsing, attribution to consents, write-back, audit.

What belongs here: everything between the vendor's rows and the CRM's entries, and whether these rows are complete. What
doesn't: calls to the vendor (`optimizely`), the CRM's SQL (`crm.sql`), and opens and clicks (`responses`).
"""

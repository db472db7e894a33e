"""Calls to the web API of a CRM, shared by the adapters of such CRMs.

What belongs here: logging in, waiting as the API asks, repeating what may be repeated. What doesn't: which addresses,
objects and errors an API has.
"""

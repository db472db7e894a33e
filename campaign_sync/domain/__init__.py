"""Values and rules of the business: consent, address, selection, snapshot, checks, limits, incidents.

What belongs here: everything that decides about people and lists, as pure functions. What doesn't: I/O, frameworks, and
imports of any other package of the product except `errors`.
"""

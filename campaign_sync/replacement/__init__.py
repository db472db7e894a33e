"""The full replacement of one recipient list: preflight, fill, sweep and proof; and what is checked of it afterwards.

What belongs here: everything that changes a vendor's list, and every check that must pass before it is changed. What
doesn't: the rules themselves (`domain`), calls to the vendor (`optimizely`), and Dagster (`orchestration`).
"""

"""The CRM: the port that all others use (`crm.port`), and one package of adapters for each kind of CRM.

What belongs here: reading people, picks and consents, and writing bounces, withdrawals and responses. What doesn't:
which consents an unsubscribe withdraws (`feedback`), and who may be written to (`domain`).
"""

"""The removal of erased people from every place where data of people is kept.

Finds a person, removes what is stored of them, and records what was done where. That they stay suppressed is in
`domain.erasure` and `storage.erasures`. Printing belongs in `cli`.
"""

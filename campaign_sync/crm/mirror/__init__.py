"""The local copy of a CRM that isn't read where it is: files, other databases, web services.

What belongs here: what a source of such a CRM yields and takes (`source`), what is remembered of it (`memory`), the
copy itself, and the adapter that reads the copy and writes to the source. What doesn't: any particular kind of CRM.
"""

"""One module per kind of asset: it reads from the resources, calls the packages below, and returns.

What belongs here: the assets' descriptions, metadata and check results. What doesn't: rules, SQL and SOAP.
"""

"""Opens, clicks and other responses on their way into a dataset that can be analysed, and into the CRM.

Not here: bounces and unsubscribes, which decide who is written to (`feedback`). No replacement depends on this package.
"""

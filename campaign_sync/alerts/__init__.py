"""Finds out what is wrong, and tells those who have to know: once when it begins, once when it is over."""

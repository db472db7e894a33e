"""Answers about one person in all lists: why, on which consent, since when."""

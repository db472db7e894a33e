"""Hypothesis without deadlines: how long an example takes on a busy machine says nothing about the rules."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

"""Tests of the guarded webserver, with Dagster's own behind it."""

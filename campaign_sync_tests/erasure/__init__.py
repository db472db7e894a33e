"""Tests of the erasure of people."""

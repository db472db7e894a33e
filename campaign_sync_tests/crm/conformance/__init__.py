"""The conformance tests on each of our own adapters."""

"""Spans, counters and gauges for monitoring. They contain names and codes only, never personal data."""

"""Spans, counters and gauges for monitoring, and where they go: OTLP, and a text file for Prometheus.

What belongs here: the definition of every metric and span. They contain names and codes only, never personal data. No
run may fail because of this package.
"""

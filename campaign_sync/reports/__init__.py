"""The daily report: one page per mandator and day, with numbers and charts for people who send mailings.

What belongs here: collecting the numbers, drawing, translating and publishing. What doesn't: when a report is made
(`orchestration`), and whether a list is ready (`domain.readiness`). Needs no Dagster.
"""

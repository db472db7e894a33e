"""Answers about people and lists: who is in which list, why, on which consent, and what changed.

Reads the CRM, the snapshots and the rejections into one model of one person in all lists. Printing belongs in `cli`.
"""

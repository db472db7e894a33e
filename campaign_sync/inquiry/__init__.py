"""Answers about people and lists: who is in which list, why, on which consent, what changed, and what would change.

Reads the CRM, the snapshots and the rejections into one model of one person in all lists, and plans a replacement by
its own steps. Changes nothing. Printing belongs in `cli`.
"""

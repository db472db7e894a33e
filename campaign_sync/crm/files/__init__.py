"""The adapter for a CRM that delivers files: SAP, CAS, or any other that can export its tables.

What belongs here: which delivery is complete, its files on this machine, and the contract's tables in them. What
doesn't: folders, SFTP servers and object stores themselves (`delivered_files`).
"""

"""The CRM: one small port and its adapters."""

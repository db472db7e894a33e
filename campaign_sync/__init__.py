"""Copies CRM reports and marketing lists into Optimizely Campaign recipient lists, in full, every day."""

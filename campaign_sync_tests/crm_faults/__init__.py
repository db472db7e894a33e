"""Days of a CRM that fails: what people change, which faults its web API has, and what must be true in the evening."""

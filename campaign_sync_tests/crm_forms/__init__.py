"""The same invented people in CRMs of several kinds: contract tables, SuiteCRM's schema, delivered files, web APIs."""

"""Plain values and rules of the business. Knows no I/O, no framework and no other room."""

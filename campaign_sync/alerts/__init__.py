"""Detection of incidents, and their notices through channels: one when an incident begins, one when it is over."""

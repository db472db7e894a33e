"""Days of an installation with the production stack: webserver, daemon, code server and PostgreSQL."""

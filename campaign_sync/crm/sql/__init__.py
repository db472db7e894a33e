"""A CRM in a SQL database: tables or views that answer to the names of the contract."""

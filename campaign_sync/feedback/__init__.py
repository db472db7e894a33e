"""The way of the vendor's feedback into the CRM, and what tells whether it is the whole of it."""

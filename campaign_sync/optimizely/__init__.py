"""The vendor: sessions, the wire format, one typed class per web service, faults."""

"""One file per asset kind: reads from ports, calls the domain, returns."""

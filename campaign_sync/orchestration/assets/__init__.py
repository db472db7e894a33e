"""One file per asset kind: reads from the resources, calls the packages below, returns."""

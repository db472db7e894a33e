"""Copies CRM reports and marketing lists into Optimizely Campaign recipient lists, in full, every day."""

import os

# Arrow's allocator reads it when it is loaded: what is free goes back to the system at once, not at some later call.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")

"""A stand-in for Optimizely Campaign and a demonstration CRM, for trying and for testing."""

"""A simulation of Optimizely Campaign's SOAP API and a demonstration CRM, for trials and tests.

No other package may depend on it, except the commands `demo` and `sandbox`.
"""

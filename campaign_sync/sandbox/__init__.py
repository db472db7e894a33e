"""A simulation of Optimizely Campaign's SOAP API and a demonstration CRM, for trials and tests.

What belongs here: the vendor's behaviour as documented or observed, in the form in which Apache Axis 1.4 answers. No
other package may depend on it, except the commands `demo` and `sandbox`.
"""

"""The client of Optimizely Campaign's SOAP API: sessions, encoding, one typed class per web service, errors.

Everything that knows the vendor's protocol belongs here. Rules about people, consents and lists don't: they are in
`domain` and `replacement`.
"""

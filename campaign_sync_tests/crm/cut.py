"""A connection that a stand-in cuts."""


class ConnectionCutError(Exception):
    """Raised while a stand-in answers a call: the connection ends without an answer."""

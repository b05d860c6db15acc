"""The error of the local services."""


class ServiceError(Exception):
    """A local service cannot work; the message is a sentence for the person at the terminal."""

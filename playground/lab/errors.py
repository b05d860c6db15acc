"""Errors of a request: one sentence, and the line that it is about."""


class Mistaken(Exception):
    """The input cannot be used.

    Attributes:
        message: one sentence: what, where, what to do.
        part: the part of the page: "handler", "schedule", "settings", "pattern" or "record".
        line: in that part, from 1; None for the whole.
    """

    def __init__(self, message: str, part: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.part = part
        self.line = line

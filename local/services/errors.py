"""What the laptop stack says when it cannot go on."""


class EngineError(Exception):
    """An engine cannot do its work; the message is for the person at the terminal."""

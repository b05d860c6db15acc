"""What stops a synth with a sentence instead of a traceback."""


class SynthError(Exception):
    """The app cannot be synthesised; the message says what is wrong, where, and what to do."""

"""What stops a synth with a sentence instead of a traceback."""


class SynthError(Exception):
    """The app cannot be synthesised; the message names the fault, the place and the fix."""

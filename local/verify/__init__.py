"""The checker: does every sink hold exactly what the orders table says?

It shares no code with the sinks. Identities, aggregates, documents and histories are worked out
here a second time from the agreed formats, so that a mistake in the library cannot hide in its own
checker.
"""

from local.verify.comparison import compare
from local.verify.live import Http, LiveCopies, ReadError, SignedHttp
from local.verify.quiet import Progress, settle, wait_for_progress
from local.verify.report import Difference, Inserts, Report, SinkReport

__all__ = [
    "Difference",
    "Http",
    "Inserts",
    "LiveCopies",
    "Progress",
    "ReadError",
    "Report",
    "SignedHttp",
    "SinkReport",
    "compare",
    "settle",
    "wait_for_progress",
]

"""The checker: compares every sink with the orders table.

It shares no code with the sinks: it computes identities, aggregates, documents and histories again
from the agreed formats, so that a mistake of the library cannot hide in its own checker.
"""

from local.verify.checker import compare
from local.verify.comparison import Comparison, Difference, Inserts, SinkComparison
from local.verify.deployed_copies import DeployedCopies, Http, ReadError, SignedHttp
from local.verify.progress import Progress, settle, wait_for_progress

__all__ = [
    "Comparison",
    "DeployedCopies",
    "Difference",
    "Http",
    "Inserts",
    "Progress",
    "ReadError",
    "SignedHttp",
    "SinkComparison",
    "compare",
    "settle",
    "wait_for_progress",
]

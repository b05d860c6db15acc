"""The checker: compares every sink with the tables that the domain declares.

It computes the wanted state from the items with the functions of the declaration, and reads the
copies without the sinks' code. What those of the example domain return is computed again, without
library and domain, in tests/example_domain.
"""

from local.verify.checker import CHECKS, SinkCheck, checks_of, compare, unchecked
from local.verify.comparison import Comparison, Difference, SinkComparison
from local.verify.deployed_copies import DeployedCopies, Http, ReadError, SignedHttp
from local.verify.items import Items, Tally
from local.verify.progress import Progress, settle, wait_for_progress

__all__ = [
    "CHECKS",
    "Comparison",
    "DeployedCopies",
    "Difference",
    "Http",
    "Items",
    "Progress",
    "ReadError",
    "SignedHttp",
    "SinkCheck",
    "SinkComparison",
    "Tally",
    "checks_of",
    "compare",
    "settle",
    "unchecked",
    "wait_for_progress",
]

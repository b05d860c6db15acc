"""The part of the playground that runs in Python: in the browser's worker, and in the tests.

`answer` takes a request as JSON and returns JSON; the page draws it. A run is one schedule of the
conformance kit (`dynamodb_streams_cdc.testing`), so the page shows what a test would.
"""

from playground.lab.requests import answer

__all__ = ["answer"]

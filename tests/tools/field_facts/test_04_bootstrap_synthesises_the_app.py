"""`cdk bootstrap` in a folder with cdk.json synthesises the app, and needs what the app needs.

Tried with the CDK's command line that is pinned here: without a context it ends with "No
environment is chosen", and without `node` on PATH it does not start.
https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html
"""

import pytest

from tests.tools.conftest import Cdk
from tests.tools.fake_aws import ACCOUNT, REGION
from tools.account import __main__ as command
from tools.account import cdk


def test_bootstrap_needs_no_environment_and_synthesises_no_app(
    started: Cdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with cdk.json makes `cdk bootstrap` end with "No environment is chosen"."""
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    assert command.main(["bootstrap", "sandbox"]) == 0
    [(arguments, directory)] = started.runs
    assert arguments == ["bootstrap", f"aws://{ACCOUNT}/{REGION}"]
    assert not directory.is_relative_to(cdk.ROOT)
    assert not directory.exists()

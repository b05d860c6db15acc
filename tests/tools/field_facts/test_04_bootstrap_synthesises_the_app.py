"""`cdk bootstrap` in a folder with cdk.json synthesises the app, and needs what the app needs.

Tried with the CDK's command line that is pinned here: without a context it ends with "No
environment is chosen", and without `node` on PATH it does not start.
https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html
"""

from tests.tools.conftest import Cdk, Make
from tests.tools.fake_aws import ACCOUNT, REGION
from tools.account import cdk


def test_bootstrap_needs_no_environment_and_synthesises_no_app(started: Cdk, make: Make) -> None:
    assert make("bootstrap", "sandbox")[0] == 0
    [(arguments, directory)] = started.runs
    assert arguments == ["bootstrap", f"aws://{ACCOUNT}/{REGION}"]
    assert not directory.is_relative_to(cdk.ROOT)
    assert not directory.exists()

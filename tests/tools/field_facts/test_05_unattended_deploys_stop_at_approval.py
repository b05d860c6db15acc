"""`cdk deploy` without a terminal stops at changes of permissions, which no one can approve.

https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-deploy.html (`--require-approval`)
"""

from tests.tools.conftest import Cdk, Make
from tests.tools.fake_aws import REGION
from tools.account import cdk


def test_a_deploy_without_a_terminal_approves_in_advance(started: Cdk, make: Make) -> None:
    status, said = make("deploy", "sandbox", options="-c alarm_email='you@example.com'")
    assert status == 0
    [(arguments, directory)] = started.runs
    assert arguments[:4] == ["deploy", "--all", "--context", "environment=sandbox"]
    assert arguments[arguments.index("--require-approval") + 1] == "never"
    assert arguments[-2:] == ["-c", "alarm_email=you@example.com"]
    assert (directory, started.region) == (cdk.ROOT, REGION)
    assert "--require-approval never" in said

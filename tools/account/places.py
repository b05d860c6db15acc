"""Places of a rehearsal: the emulator of this machine, or an AWS account.

Both take the real `cdk deploy`, and both are reached by the same boto3 calls. They differ in the
poller of the streams, in the requests to OpenSearch and in the time that things take.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from dynamodb_streams_cdc.entities import Table
from local.console import DemoConsole
from local.declaration import TABLES
from local.deployed.command_line import CommandLine
from local.deployed.deployment import deploy as deploy_to_emulator
from local.deployed.deployment import session
from local.deployed.pipeline import copies_of
from local.deployed.poller_process import PollerProcess
from local.deployed.resources import Resources, stack_of
from local.services import loopback
from local.services.service import emulator, opensearch
from local.verify import DeployedCopies, Http, SignedHttp
from stacks.settings.names import Naming
from tools.account import cdk, settings
from tools.account.identity import Account, AccountError
from tools.account.preflight import bootstrap_version

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """An environment's place, before and after its deployment."""

    name: str
    account: Account
    names: Naming
    deploy: Callable[[Say], None]
    """Bootstrap and deploy this tree."""
    polling: Callable[[], AbstractContextManager[object]]
    """Runs the event source mappings while the pipeline is in use."""
    http: Http | None
    """Sends requests to OpenSearch; None where they are not signed."""
    unchanged_for: float
    """Seconds that a difference must stay the same."""
    command_line: CommandLine

    def tables(self) -> list[DeployedCopies]:
        """Return the deployed tables and their copies, in the order of the declaration."""
        client = self.account.client
        return [
            copies_of(client("dynamodb"), client("s3"), table, self._resources(table), self.http)
            for table in TABLES
        ]

    def _resources(self, table: Table) -> Resources:
        name = stack_of(self.names.stack_prefix, table)
        [stack] = self.account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}
        return Resources.of(table, name, outputs)


@contextmanager
def on_emulator(console: DemoConsole) -> Iterator[tuple[Place, PollerProcess, str]]:
    """Emulator and OpenSearch on entry, nothing of them on exit.

    Yields the place, the poller that takes its mappings over when it is entered, and the URL of
    OpenSearch.

    Raises:
        ServiceError: A service does not start.
    """
    with ExitStack() as stack:
        with console.stage("Starting the services") as stage:
            aws = stack.enter_context(emulator(progress=stage.say))
            search = stack.enter_context(opensearch(progress=stage.say))
            stage.outcome = f"Services up: AWS emulator at {aws.url}, OpenSearch at {search.url}"
        poller = PollerProcess(aws.url)
        account = Account(
            loopback.ACCOUNT,
            loopback.REGION,
            f"arn:aws:iam::{loopback.ACCOUNT}:root",
            session(aws.url),
        )

        def deploy(say: Say) -> None:
            deploy_to_emulator(aws.url, search.url, say)

        place = Place(
            name="the emulator",
            account=account,
            names=settings.names_of("local"),
            deploy=deploy,
            polling=lambda: poller,
            http=None,
            unchanged_for=30.0,  # the first invocations of a busy machine take long
            command_line=CommandLine.of_emulator(aws.url),
        )
        yield place, poller, search.url


def in_account(account: Account, names: Naming, options: str) -> Place:
    """Return the place in a confirmed account, where Lambda polls the streams."""

    def deploy(say: Say) -> None:
        # An account that has it may have other policies than the defaults.
        qualifier = settings.qualifier_of(options)
        if bootstrap_version(account, qualifier) is None:
            say("cdk bootstrap")
            _succeed("cdk bootstrap", cdk.bootstrap(account, qualifier, []))
        say("cdk deploy")
        status = cdk.deploy(account, names.name, settings.words(options), attended=False)
        _succeed("cdk deploy", status)

    credentials = account.session.get_credentials()
    if credentials is None:
        message = "The credentials are gone: sign in again."
        raise AccountError(message)
    return Place(
        name=f"account {account.number}, Region {account.region}",
        account=account,
        names=names,
        deploy=deploy,
        polling=nullcontext,
        http=SignedHttp(credentials, account.region),
        unchanged_for=180.0,
        command_line=CommandLine(names.name, {**os.environ, "AWS_REGION": account.region}),
    )


def _succeed(name: str, status: int) -> None:
    if status:
        message = f"`{name}` failed with status {status}; its output is above."
        raise AccountError(message)

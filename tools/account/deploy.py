"""Deploys an environment to an account: preflight, confirmation, deploy, advice after a failure."""

import sys

from local.declaration import TABLES
from stacks.environments import Environment
from tools.account import cdk, inventory, preflight
from tools.account.findings import Finding, refuse_blocking
from tools.account.identity import Account, confirm
from tools.account.settings import qualifier_of, settings_of, words

_EFFECT = (
    "deploy of environment {} creates or changes tables, functions, queues, buckets, alarms and, "
    "for documents without search_url, an OpenSearch domain; the domain and the tables cost money "
    "while they exist."
)
_BOOTSTRAP = (
    "bootstrap creates or updates the stack {}: a bucket, a container registry and five roles, "
    "which all CDK apps of the Region with the qualifier {} share; `make destroy` leaves it."
)
_APPROVAL = (
    "There is no terminal: changes of permissions are approved in advance (--require-approval "
    "never)."
)
_PROTECTED_LATER = "New: {}. The deploy has two passes; the second one protects stacks and tables."
NEVER_CREATED = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
_FAILED = (
    "The deploy failed with status {status}. CloudFormation's messages are above and in the "
    "stack's events. `make preflight ENVIRONMENT={environment}` shows the state of the stacks; "
    'see "The first deploy failed" in docs/how-to/runbook.md.'
)
_INTERRUPTED = (
    "\nInterrupted: CloudFormation continues. Wait until `make preflight "
    "ENVIRONMENT={environment}` finds no stack in progress, then deploy again."
)


def look(account: Account, environment: str, options: str) -> list[Finding]:
    """Return the findings of the preflight for an environment and options of the CDK."""
    settings = settings_of(environment, options, TABLES)
    wanted = preflight.wanted_of(account, settings, TABLES, qualifier_of(options))
    return preflight.preflight(account, wanted)


def deploy(account: Account, environment: str, options: str) -> int:
    """Return the exit status.

    Raises:
        AccountError: A finding of the preflight is blocking, or the deploy is not confirmed.
    """
    refuse_blocking(look(account, environment, options), print)
    confirm(account, _EFFECT.format(environment))
    attended = sys.stdin.isatty() and sys.stdout.isatty()
    if not attended:
        print(_APPROVAL, flush=True)
    try:
        status = _in_turn(account, environment, options, attended=attended)
    except KeyboardInterrupt:
        print(_INTERRUPTED.format(environment=environment))
        return 130
    if status:
        print(_FAILED.format(status=status, environment=environment))
    return status


def _in_turn(account: Account, environment: str, options: str, *, attended: bool) -> int:
    """Deploy; new stacks are protected in a second pass.

    CloudFormation cannot remove a protected stack or table: a first deploy that fails could not be
    repeated.
    """
    settings = settings_of(environment, options, TABLES)
    missing = _missing(account, settings) if settings.protection else []
    if missing:
        print(_PROTECTED_LATER.format(" and ".join(missing)), flush=True)
        unprotected = [*words(options), "--context", "protection=false"]
        status = cdk.deploy(account, environment, unprotected, attended=attended, stacks=missing)
        if status:
            return status
    return cdk.deploy(account, environment, words(options), attended=attended)


def _missing(account: Account, settings: Environment) -> list[str]:
    """Return the environment's stacks that do not exist yet."""
    there = {
        stack["StackName"]
        for stack in inventory.stacks(account, settings)
        if stack["StackStatus"] not in NEVER_CREATED
    }
    return [name for name in settings.stack_names(TABLES) if name not in there]


def bootstrap(account: Account, options: str) -> int:
    """Prepare the account's Region for the CDK; return the exit status.

    Raises:
        AccountError: The bootstrap is not confirmed.
    """
    qualifier = qualifier_of(options)
    confirm(account, _BOOTSTRAP.format(cdk.bootstrap_stack(qualifier), qualifier))
    return cdk.bootstrap(account, qualifier, words(options))

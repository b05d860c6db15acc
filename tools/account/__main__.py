"""`python -m tools.account COMMAND ENVIRONMENT`: the Makefile's targets for an AWS account.

The environment is an argument, or the variable ENVIRONMENT that make exports. CDK_OPTIONS has
further words for the CDK's command line, CONFIRM the account's number if there is no terminal.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from tools.account import cdk, deploy, destroy
from tools.account.findings import as_json, stops
from tools.account.identity import AccountError, confirm, sign_in
from tools.account.settings import deployable, names_of, words

_DESTROYED = (
    "destroy of environment {} deletes its stacks with all tables, dead letters and documents, for "
    "good."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, 1 after an error, 2 for wrong arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.account", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("command", choices=("preflight", "bootstrap", "synth", "deploy", "destroy"))
    parser.add_argument("environment", nargs="?", default=os.environ.get("ENVIRONMENT"))
    parser.add_argument("--json", action="store_true", help="findings of the preflight as JSON")
    given = parser.parse_args(arguments)
    try:
        return _run(given.command, _known(given.command, given.environment), given.json)
    except AccountError as error:
        print(json.dumps({"error": str(error)}) if given.json else error)
    except (BotoCoreError, ClientError) as error:
        print(f"AWS refused: {error}. Fix that and repeat the command: it continues.")
    except KeyboardInterrupt:
        print("\nInterrupted: repeat the command to continue.")
        return 130
    return 1


def _known(command: str, environment: str | None) -> str:
    known = deployable()
    if environment is None or environment not in known:
        print(
            f"make {command}: ENVIRONMENT={environment!r}: choose {' or '.join(known)}, or add it "
            "to environments in cdk.json, with a profile."
        )
        raise SystemExit(2)
    return environment


def _run(command: str, environment: str, as_object: bool) -> int:
    options = os.environ.get("CDK_OPTIONS", "")
    if command == "synth":
        return cdk.synth(environment, words(options))
    account = sign_in(options)
    match command:
        case "preflight":
            findings = deploy.look(account, environment, options)
            if as_object:
                print(as_json(account, environment, findings))
            else:
                print(f"AWS account {account.number}, Region {account.region}, as {account.arn}.")
                print(*findings, sep="\n")
            return 1 if stops(findings) else 0
        case "bootstrap":
            return deploy.bootstrap(account, options)
        case "deploy":
            return deploy.deploy(account, environment, options)
    names = names_of(environment, options)
    if names.keeps_data:
        destroy.refuse_production(account, names)
    confirm(account, _DESTROYED.format(environment))
    return 0 if destroy.Removal(account, names).run() else 1


if __name__ == "__main__":
    sys.exit(main())

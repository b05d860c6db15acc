"""Reads the settings of an environment as the CDK's app reads them."""

from __future__ import annotations

import argparse
import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from local.deployed.deployment import QUALIFIER, QUALIFIER_KEY
from stacks import environments
from stacks.environments import SettingsError
from tools.account.identity import AccountError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamodb_streams_cdc.entities import Table
    from stacks.environments import Environment
    from stacks.settings.names import Naming

TAKE_PAIRS = ("-c", "--context", "-t", "--tags", "--parameters")
"""Options of the CDK whose value is NAME=VALUE."""


def words(options: str) -> list[str]:
    """Split CDK_OPTIONS into words as a shell would, without running anything.

    Raises:
        AccountError: A quotation mark is left open, a setting lacks its -c or its value, or another
            environment is chosen.
    """
    try:
        found = shlex.split(options)
    except ValueError as error:
        message = f"CDK_OPTIONS={options!r} cannot be read ({error}): close the quotation."
        raise AccountError(message) from error
    for before, word in pairwise(["", *found]):
        given = re.fullmatch(r"(?:--?c(?:ontext)?\.)?(([A-Za-z]\w*)[\w.]*=.*)", word, re.DOTALL)
        if given and given[2] in environments.SETTINGS and before not in TAKE_PAIRS:
            message = f"CDK_OPTIONS={options!r}: {word}: did you mean -c {given[1]}?"
            raise AccountError(message)
    if "environment" in _context(found):
        message = "CDK_OPTIONS chooses an environment: set ENVIRONMENT=... instead."
        raise AccountError(message)
    return found


def _context(found: list[str]) -> dict[str, str]:
    """Return the settings in words for the CDK, such as `-c name=value`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--context", action="append", nargs="?", const="", default=[])
    known, _ = parser.parse_known_args(found)
    for each in known.context:
        if "=" not in each:
            message = f"CDK_OPTIONS has -c {each!r}, which sets nothing: write -c NAME=VALUE."
            raise AccountError(message)
    return dict(each.partition("=")[::2] for each in known.context)


def cdk_json() -> dict[str, Any]:
    """Return the context of cdk.json.

    Raises:
        AccountError: It cannot be read.
    """
    try:
        return environments.cdk_json()
    except SettingsError as error:
        raise AccountError(str(error)) from error


def deployable() -> list[str]:
    """Return the names of the environments that an account can have, as cdk.json knows them."""
    own = cdk_json().get("environments")
    # The app says so if it is not an object.
    known = dict.fromkeys(["sandbox", "production", *(own if isinstance(own, dict) else ())])
    return [name for name in known if name != "local"]


def names_of(environment: str, options: str = "") -> Naming:
    """Return an environment's names and profile; its other settings may be missing or wrong.

    Raises:
        AccountError: The environment, its profile or its prefix is wrong.
    """
    try:
        return environments.names(_all(environment, options))
    except SettingsError as error:
        raise AccountError(str(error)) from error


def settings_of(environment: str, options: str, tables: Sequence[Table]) -> Environment:
    """Return the environment with the settings of cdk.json and of `-c name=value` in CDK_OPTIONS.

    Raises:
        AccountError: A setting is wrong, or does not fit the tables; `cdk synth` would refuse it as
            well.
    """
    try:
        found = environments.load(_all(environment, options), cdk_json())
        found.check_tables(tables)
    except SettingsError as error:
        raise AccountError(str(error)) from error
    return found


def qualifier_of(options: str) -> str:
    """Return the qualifier of the CDK's bootstrap that the app's templates name."""
    return str({**cdk_json(), **_context(words(options))}.get(QUALIFIER_KEY) or QUALIFIER)


def _all(environment: str, options: str) -> dict[str, Any]:
    return {**cdk_json(), **_context(words(options)), "environment": environment}

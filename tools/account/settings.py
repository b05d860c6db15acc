"""Reads the settings of an environment as the CDK's app reads them."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from stacks import environments
from stacks.environments import SettingsError
from tools.account.identity import AccountError

if TYPE_CHECKING:
    from stacks.environments import Environment

ROOT = Path(__file__).parents[2]


def words(options: str) -> list[str]:
    """Split CDK_OPTIONS into words as a shell would, without running anything.

    Raises:
        AccountError: A quotation mark is left open, or another environment is chosen.
    """
    try:
        found = shlex.split(options)
    except ValueError as error:
        message = f"CDK_OPTIONS={options!r} cannot be read ({error}): close the quotation."
        raise AccountError(message) from error
    if "environment" in _context(found):
        message = "CDK_OPTIONS chooses an environment: set ENVIRONMENT=... instead."
        raise AccountError(message)
    return found


def _context(found: list[str]) -> dict[str, str]:
    """Return the settings in words for the CDK, such as `-c name=value`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--context", action="append", default=[])
    known, _ = parser.parse_known_args(found)
    return dict(each.partition("=")[::2] for each in known.context)


def settings_of(environment: str, options: str) -> Environment:
    """Return the environment with the settings of cdk.json and of `-c name=value` in CDK_OPTIONS.

    Raises:
        AccountError: A setting is wrong; `cdk synth` would refuse it as well.
    """
    given = _context(words(options))
    context = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    try:
        return environments.load({**context, **given, "environment": environment})
    except SettingsError as error:
        raise AccountError(str(error)) from error

"""Error messages and exit statuses of the command line."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from dynamodb_streams_cdc.cli.output import print_report
from dynamodb_streams_cdc.errors import CdcError, visible
from dynamodb_streams_cdc.operations.aws.access import CREDENTIALS, UNREACHABLE, code_of, unreached
from dynamodb_streams_cdc.operations.endpoint import masked
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.report import Report

R = TypeVar("R", bound=Report)

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)


@contextmanager
def sentences() -> Iterator[None]:
    """End the process with a sentence and a status: 2 wrong use, 1 failure, 130 Ctrl-C."""
    try:
        yield
    except UsageError as error:
        typer.echo(visible(masked(str(error))), err=True)
        raise typer.Exit(MISUSED) from error
    except (CdcError, BotoCoreError, ClientError, *UNREACHABLE) as error:
        typer.echo(visible(masked(sentence(error))), err=True)
        raise typer.Exit(FAILED) from error
    except BrokenPipeError:  # the reader of the output wants no more of it
        raise
    except (OSError, sqlite3.Error) as error:
        text = f"This machine is at fault ({error}): is its disk full? Then run it again."
        typer.echo(visible(text), err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def reported(
    report: R,
    show: Callable[[R], object],
    *,
    as_json: bool = False,
    progress: AbstractContextManager[object] | None = None,
) -> Iterator[None]:
    """Show the report, however the work ends; exit with a status if something is left.

    Args:
        report: of the work.
        show: writes it for a person.
        as_json: writes it for other programs instead.
        progress: of the work; it ends before the report is shown.
    """
    try:
        yield
    except KeyboardInterrupt:
        report.interrupted = True
    except Exception:
        report.failed = True
        raise
    finally:
        if progress is not None:
            progress.__exit__(None, None, None)
        (print_report if as_json else show)(report)
    if not report.complete:
        raise typer.Exit(INTERRUPTED if report.interrupted else FAILED)


def sentence(error: Exception) -> str:
    """Return the message of an error, and what to do where that is known."""
    code = code_of(error)
    if isinstance(error, _NO_CREDENTIALS):
        return (
            f"No AWS credentials to work with ({_plain(error)}): sign in, or set AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if isinstance(error, ProfileNotFound):
        return f"{_plain(error)}: see AWS_PROFILE."
    if isinstance(error, NoRegionError):
        return "No AWS region is chosen: set AWS_REGION, or a region in your profile."
    if "Expired" in code:
        return "The AWS credentials have expired: sign in again."
    if code in CREDENTIALS:
        return f"The AWS credentials are not accepted ({code}): check AWS_PROFILE and the keys."
    if isinstance(error, UNREACHABLE):
        return f"{unreached(error)}: see --endpoint-url and AWS_ENDPOINT_URL, or the network."
    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {code}: {error.response['Error']['Message']}"
    return str(error)


def _plain(error: Exception) -> str:
    return str(error).rstrip(".")

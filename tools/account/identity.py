"""Finds the AWS account and Region of this shell's credentials, and asks for confirmation."""

import os
import sys
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

_PATIENT = Config(connect_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SIGN_IN = "sign in (`aws sso login`, `aws configure`) or set AWS_PROFILE"


class AccountError(Exception):
    """The account or its settings stop the command; the message is a sentence."""


@dataclass(frozen=True)
class Account:
    """An AWS account in one Region, and the session that reaches it."""

    number: str
    region: str
    arn: str
    session: boto3.Session
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    def client(self, service: str, region: str | None = None) -> Any:
        """Boto3 client of a service, in the account's Region or another; made once."""
        where = (service, region or self.region)
        if where not in self._clients:
            make: Any = self.session.client
            self._clients[where] = make(service, region_name=where[1], config=_PATIENT)
        return self._clients[where]


def sign_in(options: str = "") -> Account:
    """Return the account of this shell's credentials; `options` are those for the CDK.

    Raises:
        AccountError: There are no credentials, they have expired, or no Region is chosen.
    """
    if "--profile" in options:
        message = (
            "Set AWS_PROFILE instead of --profile: this command must reach the account of the CDK."
        )
        raise AccountError(message)
    try:
        session = boto3.Session()
    except BotoCoreError as error:
        message = f"No AWS profile: {_reason(error)}."
        raise AccountError(message) from error
    region: str | None = os.environ.get("AWS_REGION") or session.region_name
    if region is None:
        message = "No AWS Region: set AWS_REGION, or one for your profile"
        signed_in = session.get_credentials() is not None
        message += "." if signed_in else f". No AWS credentials either: {_SIGN_IN}."
        raise AccountError(message)
    try:
        identity = session.client("sts", region_name=region).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise AccountError(_sentence(error, region)) from error
    return Account(identity["Account"], region, identity["Arn"], session)


def _sentence(error: BotoCoreError | ClientError, region: str) -> str:
    """Return the reason and the fix of a failed sign-in, without any part of a credential."""
    code = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""
    if code in _EXPIRED or isinstance(error, SSOError | TokenRetrievalError):
        return f"Your AWS credentials have expired ({_reason(error)}): {_SIGN_IN} again."
    if code == "InvalidClientTokenId":
        return (
            f"AWS does not know these credentials in Region {region} (InvalidClientTokenId): "
            f"{_SIGN_IN}, or enable the Region in the account's settings."
        )
    if code == "SignatureDoesNotMatch":
        return (
            "AWS refuses the signature (SignatureDoesNotMatch): the secret key is wrong, or this "
            f"machine's clock is; {_SIGN_IN}."
        )
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return f"No AWS credentials: {_reason(error)}; {_SIGN_IN}."
    return f"No AWS account: {_reason(error)}; {_SIGN_IN}, or see whether the network is up."


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


def confirm(account: Account, question: str) -> None:
    """Return after the person has typed the account's number, or set it as CONFIRM.

    Raises:
        AccountError: There is no terminal, or another number was given.
    """
    print(f"AWS account {account.number}, Region {account.region}, as {account.arn}.")
    print(question)
    given = os.environ.get("CONFIRM")
    if not given:
        if not sys.stdin.isatty():
            message = f"There is no terminal to confirm on: repeat with CONFIRM={account.number}."
            raise AccountError(message)
        given = input("Type the account's number to go on: ").strip()
    if given != account.number:
        message = f"Not done: the account is {account.number}, not {given or 'nothing'}."
        raise AccountError(message)

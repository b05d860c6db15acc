"""What the make targets print about AWS accounts in memory, for pages of docs/how-to."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto import mock_aws

from lambdas.example_domain import TABLES
from tests.tools.fake_aws import ACCOUNT, KINDS, REGION, FakeAws, Stack, s3, uuid
from tools.account import __main__ as command
from tools.account import cdk, deploy, settings
from tools.example_context import CONTEXT

BOOTSTRAPPED = {"/cdk-bootstrap/hnb659fds/version": "30"}
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_REGION": REGION,
    "CONFIRM": ACCOUNT,
}


@contextmanager
def account() -> Iterator[FakeAws]:
    """An account that holds nothing."""
    with pytest.MonkeyPatch.context() as patched, mock_aws():
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "CDK_OPTIONS", "ENVIRONMENT"):
            patched.delenv(name, raising=False)
        for name, value in VARIABLES.items():
            patched.setenv(name, value)
        # A fork has settings and tables of its own in cdk.json and lambdas/domain.
        patched.setattr(settings, "cdk_json", lambda: CONTEXT)
        patched.setattr(deploy, "TABLES", TABLES)
        yield FakeAws().installed(patched)


def ready() -> None:
    """`make preflight` in an account that can take a deploy."""
    with account() as aws:
        aws.parameters = dict(BOOTSTRAPPED)
        command.main(["preflight", "sandbox"])


def not_ready() -> None:
    """`make preflight` in a new account, where a first deploy of another day has failed."""
    with account() as aws:
        aws.concurrency = 10
        aws.instance_types = ["m7g.large.search"]
        aws.add(Stack("cdc-sandbox-pipeline", "ROLLBACK_COMPLETE"))
        command.main(["preflight", "sandbox"])


def unfit_table() -> None:
    """`make preflight` for a table without a sort key, whose stream was replaced."""
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Shop"
    streams = [f"{arn}/stream/2026-0{month}-01T00:00:00.000" for month in (1, 2)]
    with account() as aws, pytest.MonkeyPatch.context() as patched:
        aws.parameters = dict(BOOTSTRAPPED)
        aws.tables["Shop"] = streams[1]
        aws.expires_by["Shop"] = "expires_at"
        aws.described["Shop"] = {
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "customer_id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "customer_id", "AttributeType": "S"}],
            "StreamSpecification": {
                "StreamEnabled": True,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
        tables = json.dumps({"orders": {"arn": arn, "stream_arn": streams[0]}})
        patched.setenv("CDK_OPTIONS", f"-c 'source_tables={tables}'")
        command.main(["preflight", "sandbox"])


def deployed() -> None:
    """`make deploy` without a terminal."""

    def run(*_: object) -> int:
        print("... (what the CDK prints)")
        return 0

    with account() as aws, pytest.MonkeyPatch.context() as patched:
        aws.parameters = dict(BOOTSTRAPPED)
        patched.setattr(cdk, "run", run)
        command.main(["deploy", "sandbox"])


def destroyed() -> None:
    """`make destroy` of a sandbox."""
    with account() as aws:
        table, bucket = "cdc-sandbox-pipeline-OrdersTable", "cdc-sandbox-pipeline-deadletters"
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2026-11-28T11:00:00.000"
        aws.tables[table] = arn
        resources = [
            (KINDS["table"], table),
            (KINDS["bucket"], bucket),
            (KINDS["mapping"], uuid("audit")),
        ]
        aws.add(
            Stack("cdc-sandbox-pipeline", imports=("domain",), resources=resources),
            Stack("cdc-sandbox-search", exports=("domain",)),
        )
        aws.add_mapping(uuid("audit"), "cdc-sandbox-pipeline-AuditFunction", table)
        s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3().put_object(Bucket=bucket, Key="a", Body=b"{}")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("time.sleep", lambda seconds: None)
            command.main(["destroy", "sandbox"])


def production() -> None:
    """`make destroy` of production names what it has."""
    with account() as aws:
        aws.add(Stack("cdc-production-pipeline", protected=True))
        command.main(["destroy", "production"])


def expired() -> None:
    """Any target after a session has ended."""
    with account() as aws:
        aws.errors["sts:GetCallerIdentity"] = "ExpiredToken"
        command.main(["preflight", "sandbox"])

"""`Runs` on Step Functions and S3: the state machine of stacks/maintenance.py."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.names import RUNS
from dynamodb_streams_cdc.operations.aws.access import code_of, permitted
from dynamodb_streams_cdc.operations.remote_walk import GAVE_UP, Answer, Status

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DELETED_AT_ONCE = 1000
"""Keys of one DeleteObjects (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""


@dataclass(frozen=True)
class StateMachineRuns:
    """`Runs` of one pipeline.

    Attributes:
        states: client of Step Functions.
        s3: client of S3.
        machine: ARN of the state machine.
        bucket: that parts and answers are in.
        functions: names of the functions, by processor.
    """

    states: Any
    s3: "S3Client"
    machine: str
    bucket: str
    functions: Mapping[str, str]

    def start(self, name: str, parts: Sequence[Mapping[str, Any]], concurrency: int) -> None:
        """Start an execution; do nothing if one of that name was started before."""
        if self.status(name) is not None:
            return
        key = f"{RUNS}{name}.json"
        prefix = f"{RUNS}{name}/"
        body = json.dumps([{**part, "prefix": prefix} for part in parts]).encode()
        with permitted("s3:PutObject", f"s3://{self.bucket}/{key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        with permitted("states:StartExecution", self.machine):
            self.states.start_execution(
                stateMachineArn=self.machine,
                name=name,
                input=json.dumps({"items": key, "concurrency": concurrency}),
            )

    def arn(self, name: str) -> str:
        """Return the ARN of an execution."""
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    def status(self, name: str) -> Status | None:
        """Return the status of an execution; None if there is none."""
        arn = self.arn(name)
        try:
            with permitted("states:DescribeExecution", arn):
                found = self.states.describe_execution(executionArn=arn)
        except ClientError as error:
            if code_of(error) != "ExecutionDoesNotExist":
                raise
            return None
        cause = ": ".join(filter(None, (found.get("error"), found.get("cause"))))
        return Status(str(found["status"]), cause)

    def stop(self, name: str, cause: str) -> None:
        """Stop an execution; what its functions are doing, they do to the end."""
        arn = self.arn(name)
        with permitted("states:StopExecution", arn):
            self.states.stop_execution(executionArn=arn, cause=cause)

    def listed(self, name: str) -> Sequence[Answer]:
        """Return the answers that are there, in the order of their parts and steps."""
        prefix = f"{RUNS}{name}/"
        found: list[Answer] = []
        with permitted("s3:ListBucket", f"s3://{self.bucket}"):
            pages = self.s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                found += [_answer(each["Key"], prefix) for each in page.get("Contents", ())]
        return sorted(found, key=_order)

    def read(self, answer: Answer) -> Any:
        """Return an answer."""
        with permitted("s3:GetObject", f"s3://{self.bucket}/{answer.key}"):
            body = self.s3.get_object(Bucket=self.bucket, Key=answer.key)["Body"].read()
        return json.loads(body)

    def forget(self, answers: Iterable[Answer]) -> None:
        """Delete answers."""
        keys = [answer.key for answer in answers]
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some: Any = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
            with permitted("s3:DeleteObject", f"s3://{self.bucket}/{RUNS}"):
                self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": some, "Quiet": True})

    def function(self, processor: str) -> str:
        """Return the name of a processor's function."""
        return self.functions[processor]


def _answer(key: str, prefix: str) -> Answer:
    part, _, step = key.removeprefix(prefix).removesuffix(".json").partition("/")
    return Answer(int(part), step, key)


def _order(answer: Answer) -> tuple[int, bool, int]:
    is_last = answer.step == GAVE_UP
    return answer.part, is_last, 0 if is_last else int(answer.step)

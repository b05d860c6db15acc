"""The scheduled function that writes the canary and counts the dead letters."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dynamodb_streams_cdc.names import CANARY, DEAD_LETTERS, GIVEN_UP_BY_LAMBDA
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.function import add_function
from stacks.constructs.source_table import SourceTable, use_of_table_key
from stacks.constructs.stream_processor import StreamProcessor
from stacks.environments import Environment

SCHEDULE_MINUTES = 5


class Watcher(Construct):
    """Function, role, log group and schedule.

    Every five minutes it writes the canary into the source table, if the table has one, and
    publishes the number of dead letters of each processor. It may write no other item, and read
    none.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        code: lambda_.Code,
        source: SourceTable,
        processors: Sequence[StreamProcessor],
        dead_letters: DeadLetters,
        environment: Environment,
    ) -> None:
        super().__init__(scope, id)
        self.has_canary = source.has_canary
        parts = add_function(
            self,
            description="Writes the canary and counts the dead letters that wait",
            handler="lambdas.watcher.handler.handler",
            code=code,
            memory_mib=256,
            environment=environment,
            variables={
                "PIPELINE": Stack.of(self).stack_name,
                **self._canary(source),
                "DEAD_LETTERS": self._places(processors),
                "ALL_DEAD_LETTERS": self._all_places(dead_letters),
            },
        )
        self.function, self.role, self.log_group = parts.function, parts.role, parts.log_group
        if source.has_canary:
            self._let_write_the_canary(source)
        self._let_count(dead_letters)
        events.Rule(
            self,
            "Schedule",
            schedule=events.Schedule.rate(Duration.minutes(SCHEDULE_MINUTES)),
            targets=[targets.LambdaFunction(self.function)],
        )

    def _canary(self, source: SourceTable) -> dict[str, str]:
        if not source.has_canary:
            return {}
        return {
            "SOURCE_TABLE_NAME": source.name,
            "SOURCE_TABLE_KEYS": Stack.of(self).to_json_string(source.keys),
        }

    def _places(self, processors: Sequence[StreamProcessor]) -> str:
        """Where each processor's dead letters are: `{processor: [[bucket, prefix], ...]}`."""
        places = {
            processor.name: [
                [bucket.bucket_name, prefix] for bucket, prefix in processor.dead_letter_places
            ]
            for processor in processors
        }
        return Stack.of(self).to_json_string(places)

    def _all_places(self, dead_letters: DeadLetters) -> str:
        """Where any dead letter is, also one of a mapping or a processor that is gone."""
        return Stack.of(self).to_json_string(
            [
                [dead_letters.bucket.bucket_name, DEAD_LETTERS],
                # Before decision 16 Lambda wrote there.
                [dead_letters.bucket.bucket_name, GIVEN_UP_BY_LAMBDA],
                [dead_letters.on_failure.bucket_name, GIVEN_UP_BY_LAMBDA],
            ]
        )

    def _let_write_the_canary(self, source: SourceTable) -> None:
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["dynamodb:PutItem"],
                resources=[source.table.table_arn],
                conditions={
                    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [CANARY]},
                    # ForAllValues is true of a request that has no such key at all.
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            )
        )
        for statement in use_of_table_key(source, write=True):
            self.role.add_to_policy(statement)

    def _let_count(self, dead_letters: DeadLetters) -> None:
        buckets = (dead_letters.bucket, dead_letters.on_failure)
        iam.Grant.add_to_principal(
            grantee=self.role,
            actions=["s3:ListBucket"],
            resource_arns=[bucket.bucket_arn for bucket in buckets],
        )

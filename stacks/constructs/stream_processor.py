"""A function that applies the changes of a table to one sink, with all of its resources."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dynamodb_streams_cdc.esm.lint import lint
from stacks.constructs.change_feed import ChangeFeed
from stacks.constructs.dead_letters import DeadLetters, GivenUpBatches, ProcessorDeadLetters
from stacks.constructs.function import add_function
from stacks.constructs.release import add_alias
from stacks.environments import Environment
from stacks.errors import SynthError
from stacks.settings.processors import ProcessorSettings

# From as many failing items on, and above the setting's share of the recent ones, a shard waits
# instead of making dead letters (docs/decisions, 17).
BREAKER_ITEMS = 5
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
LONGEST_DESCRIPTION = 256


class StreamProcessor(Construct):
    """Function, role, log group, event source mapping and dead letters of one processor.

    `name` is the processor's name in dead letters and logs; `settings` are the environment
    variables of this processor in addition to the common ones. Grant its permissions on `role`.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        sink: str,
        handler: str,
        code: lambda_.Code,
        feed: ChangeFeed,
        filters: Sequence[Mapping[str, Any]],
        source_table: str,
        dead_letters: DeadLetters,
        settings: Mapping[str, str],
        environment: Environment,
    ) -> None:
        super().__init__(scope, id)
        own = environment.processor(name)
        self.name = name
        self.sink = sink
        self.source_table = source_table
        self.pipeline = Stack.of(self).stack_name
        self.feed = feed
        self.dead_letters = ProcessorDeadLetters(
            self, "DeadLetters", dead_letters=dead_letters, processor=name
        )
        parts = add_function(
            self,
            description=f"Applies the changes of {source_table}: {name}"[:LONGEST_DESCRIPTION],
            handler=handler,
            code=code,
            memory_mib=own.memory_mib,
            reserved_concurrency=own.reserved_concurrency,
            snap_start=environment.snap_start,
            environment=environment,
            variables={
                "PIPELINE": self.pipeline,
                "SOURCE_TABLE": source_table,
                "EPOCH": environment.epoch,
                "FEED": feed.kind,
                "PROCESSOR": name,
                "DEAD_LETTER_BUCKET": self.dead_letters.bucket.bucket_name,
                "DEAD_LETTER_PREFIX": self.dead_letters.prefix,
                "BREAKER_SHARE": str(own.breaker_share),
                "BREAKER_ITEMS": str(BREAKER_ITEMS),
                **settings,
            },
        )
        self.function, self.role, self.log_group = parts.function, parts.role, parts.log_group
        self.dead_letters.grant_write(self.role)
        feed.add_reader(name, self.role)
        self.releases_gradually = environment.release == "gradual"
        by_version = environment.snap_start or self.releases_gradually
        self.alias = add_alias(self, self.function) if by_version else None
        self.mapping = self._map(feed, filters, own)
        self.notifications = self.dead_letters.notify_of(self.mapping)
        self.dead_letter_places = self.dead_letters.places(self.mapping)

    def _map(
        self, feed: ChangeFeed, filters: Sequence[Mapping[str, Any]], own: ProcessorSettings
    ) -> lambda_.EventSourceMapping:
        """Read the feed as design requires: nothing skipped, nothing dropped, nothing blocked.

        Retries are unlimited because the sinks converge and an outage must not turn changes into
        dead letters; the age limit leaves four of the stream's 24 hours to write what is given up.
        """
        return lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=self.alias or self.function,
            event_source_arn=feed.stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            filters=[_checked(pattern) for pattern in filters] or None,
            batch_size=own.batch_size,
            max_batching_window=Duration.seconds(own.batching_window_seconds),
            parallelization_factor=own.parallelization_factor,
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=-1,
            max_record_age=Duration.hours(own.max_record_age_hours),
            on_failure=GivenUpBatches(self.dead_letters.on_failure),
            metrics_config=lambda_.MetricsConfig(metrics=[lambda_.MetricType.EVENT_COUNT]),
        )


def _checked(pattern: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a filter of a mapping, once `lint` finds no part of it that can never match."""
    for warning in lint(json.dumps(pattern)):
        message = f"A filter of the event source mapping is of no use: {warning}."
        raise SynthError(message)
    return lambda_.FilterCriteria.filter(dict(pattern))

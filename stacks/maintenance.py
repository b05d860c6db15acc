"""Maintenance: the scheduled function, and the state machine of `cdc ... --on aws`.

They are part of the pipeline's stack: a function that they invoke may be replaced, and a value that
another stack imports may not (docs/decisions, 20 and 31).
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from dynamodb_streams_cdc.names import MAINTENANCE_SECONDS, RUNS
from stacks.constructs.buckets import private_bucket
from stacks.constructs.function import add_function
from stacks.constructs.keys import use_of_key
from stacks.constructs.source_table import SourceTable
from stacks.constructs.stream_processor import StreamProcessor
from stacks.environments import Environment

VERIFY_EVERY, PURGE_EVERY = Duration.hours(1), Duration.days(1)
KEPT = Duration.days(30)

MOST_STEPS = 300
"""Invocations of one child execution. Each takes about 16 events of its history, which may have
25,000 (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), and three for
each attempt that is throttled: 20 of them on average. The command line starts another one for the
rest."""

MOST_MISSES = 6
"""Answers in a row that bring a part no further, until its child execution ends."""

MISS_SECONDS = 10

LONGEST_NAME = 80
"""Of a state machine: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html"""

THROTTLED = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
)
"""Errors of an invocation that another attempt may not have
(https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html)."""


class Maintenance(Construct):
    """The function with its schedules, and the state machine with its bucket.

    Attributes:
        function: verifies a part of the copies every hour, and purges every day.
        machine: walks over a table through the processors' functions.
        bucket: parts to walk over, and the answers of the functions, for 30 days.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        code: lambda_.Code,
        source: SourceTable,
        processors: Sequence[StreamProcessor],
        environment: Environment,
    ) -> None:
        super().__init__(scope, id)
        stack = Stack.of(self)
        self._invoked = [processor.function.function_arn for processor in processors]
        parts = add_function(
            self,
            description="Verifies a part of the copies and purges tombstones, on a schedule",
            handler="lambdas.maintenance.handler.handler",
            code=code,
            memory_mib=512,
            seconds=MAINTENANCE_SECONDS,
            # It invokes functions, and a VPC may have no way to the API of Lambda.
            in_vpc=False,
            environment=environment,
            variables={
                "PIPELINE": stack.stack_name,
                "PROCESSORS": stack.to_json_string(
                    {each.name: [each.function.function_name, each.sink] for each in processors}
                ),
                "SOURCE_TABLE_KEYS": stack.to_json_string(source.keys),
                "VERIFY_SHARE": f"{environment.verify_share:g}",
            },
        )
        self.function, self.log_group = parts.function, parts.log_group
        # The next run does it: a second attempt of one that ran for 15 minutes only costs.
        self.function.configure_async_invoke(retry_attempts=0)
        self._let_invoke(parts.role)
        for task, every in (("verify", VERIFY_EVERY), ("purge", PURGE_EVERY)):
            message = events.RuleTargetInput.from_object({"task": task})
            events.Rule(
                self,
                task.title(),
                schedule=events.Schedule.rate(every),
                targets=[targets.LambdaFunction(self.function, event=message)],
            )
        self.bucket = private_bucket(self, "Runs", keep=environment.keeps_data, expires_after=KEPT)
        self.machine = self._add_machine()
        policy = self._add_operator_policy()
        CfnOutput(stack, "MaintenancePolicyArn", value=policy.managed_policy_arn)

    def manifest(self) -> Mapping[str, str]:
        """Return what `cdc` has to know."""
        return {
            "state_machine": self.machine.state_machine_arn,
            "function": self.function.function_name,
        }

    def _let_invoke(self, role: iam.IRole) -> None:
        iam.Grant.add_to_principal(
            grantee=role, actions=["lambda:InvokeFunction"], resource_arns=self._invoked
        )

    def _add_machine(self) -> sfn.StateMachine:
        """Add the state machine: a child execution for each part that the bucket names."""
        walk = sfn.DistributedMap(
            self,
            "Walk",
            map_execution_type=sfn.StateMachineType.STANDARD,
            item_reader=sfn.S3JsonItemReader(
                bucket=self.bucket, key=sfn.JsonPath.string_at("$.items")
            ),
            max_concurrency_path="$.concurrency",
            # A part that fails is begun again by the command line, from its last answer on.
            tolerated_failure_percentage=100,
            result_path=sfn.JsonPath.DISCARD,
        )
        walk.item_processor(self._part())
        machine = sfn.StateMachine(
            self,
            "Machine",
            # Without one, CloudFormation's begins with no name of a stack: what a stack leaves
            # behind is found by its name.
            state_machine_name=machine_name(Stack.of(self).stack_name),
            definition_body=sfn.DefinitionBody.from_chainable(walk),
            state_machine_type=sfn.StateMachineType.STANDARD,
        )
        self._let_invoke(machine.role)
        for statement in use_of_key(machine):
            machine.role.add_to_principal_policy(statement)
        return machine

    def _part(self) -> sfn.IChainable:
        """Return the walk over one part: ask, keep the answer, go on from its place."""
        # `{}`: the map collects the outputs of all children before it discards them, and 256 KiB
        # of them are all that it takes (https://github.com/aws/aws-cdk/issues/24799).
        done = sfn.Succeed(self, "Done", output_path=sfn.JsonPath.DISCARD)
        gave_up = self._put("GaveUp", "gave-up", "$.error").next(done)
        invoke = f"arn:{Stack.of(self).partition}:states:::lambda:invoke"
        ask = sfn.CustomState(self, "Ask", state_json={**_ASKING, "Resource": invoke})
        keep = self._put("Keep", "{}", "$.got.answer", "$.step")
        following = sfn.Pass(self, "Following", parameters=_going_on(misses="0"))
        missed = sfn.Pass(
            self,
            "Missed",
            parameters=_going_on(misses="States.MathAdd($.misses, 1)"),
        )
        rest = sfn.Wait(self, "Rest", time=sfn.WaitTime.seconds_path("$.got.answer.rest")).next(
            following
        )
        pause = sfn.Wait(
            self, "Pause", time=sfn.WaitTime.duration(Duration.seconds(MISS_SECONDS))
        ).next(missed)
        when = sfn.Condition
        answer = "$.got.answer"
        decide = (
            sfn.Choice(self, "Decide")
            # A function of another version: the command line says so.
            .when(when.not_(when.is_present(f"{answer}.place")), done)
            .when(when.boolean_equals(f"{answer}.done", True), done)
            .when(when.number_greater_than_equals("$.step", MOST_STEPS), done)
            .when(when.number_greater_than_equals("$.misses", MOST_MISSES), done)
            .when(
                when.and_(
                    when.not_(when.string_equals(f"{answer}.problem", "")),
                    when.number_equals(f"{answer}.read", 0),
                ),
                pause,
            )
            .when(when.is_present(f"{answer}.rest"), rest)
            .otherwise(following)
        )
        following.next(ask)
        missed.next(ask)
        keep.next(decide)
        ask.next(keep)
        ask.add_catch(gave_up, errors=["States.ALL"], result_path="$.error")
        return ask

    def _put(self, id: str, name: str, body: str, *values: str) -> tasks.CallAwsService:
        """Return the state that writes an answer into the bucket, as JSON."""
        listed = ", ".join(("$.prefix", "$.number", *values))
        key = f"States.Format('{{}}{{}}/{name}.json', {listed})"
        state = tasks.CallAwsService(
            self,
            id,
            service="s3",
            action="putObject",
            iam_action="s3:PutObject",
            iam_resources=[self.bucket.arn_for_objects(f"{RUNS}*")],
            parameters={
                "Bucket": self.bucket.bucket_name,
                "Key": sfn.JsonPath.string_at(key),
                "Body": sfn.JsonPath.object_at(body),
            },
            result_path=sfn.JsonPath.DISCARD,
        )
        state.add_retry(
            errors=["States.ALL"],
            interval=Duration.seconds(1),
            max_attempts=6,
            backoff_rate=2,
            jitter_strategy=sfn.JitterType.FULL,
        )
        return state

    def _add_operator_policy(self) -> iam.ManagedPolicy:
        """Add the permissions of `cdc ... --on aws`."""
        policy = iam.ManagedPolicy(self, "Operator", description="Walks under Step Functions")
        stack = Stack.of(self)
        executions = stack.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self.machine.state_machine_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        objects = self.bucket.arn_for_objects(f"{RUNS}*")
        for actions, resources in (
            (["states:StartExecution"], [self.machine.state_machine_arn]),
            (["states:DescribeExecution", "states:StopExecution"], [executions]),
            (["lambda:GetFunctionConcurrency"], self._invoked),
            (["s3:ListBucket"], [self.bucket.bucket_arn]),
            (["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [objects]),
        ):
            policy.add_statements(iam.PolicyStatement(actions=actions, resources=resources))
        if statements := use_of_key(policy):
            policy.add_statements(*statements)
        return policy


def machine_name(stack: str) -> str:
    """Return the name of a stack's state machine, of at most 80 characters.

    Where the stack's name is cut, a hash of all of it tells it from others with the same beginning.
    """
    end = "-maintenance"
    room = LONGEST_NAME - len(end)
    if len(stack) <= room:
        return f"{stack}{end}"
    digest = sha256(stack.encode()).hexdigest()[:8]
    return f"{stack[: room - len(digest) - 1]}-{digest}{end}"


_ASKING: Mapping[str, Any] = {
    "Type": "Task",
    "Parameters": {
        "FunctionName.$": "$.function",
        "Payload.$": "States.JsonMerge($.event, $.cursor, false)",
    },
    "ResultSelector": {"answer.$": "$.Payload"},
    "ResultPath": "$.got",
    "Retry": [
        {
            "ErrorEquals": list(THROTTLED),
            "IntervalSeconds": 1,
            "BackoffRate": 2,
            # About twenty minutes.
            "MaxAttempts": 40,
            "MaxDelaySeconds": 60,
            "JitterStrategy": "FULL",
        },
        {
            "ErrorEquals": ["States.TaskFailed", "States.Timeout"],
            "IntervalSeconds": 2,
            "BackoffRate": 2,
            "MaxAttempts": 4,
            "MaxDelaySeconds": 20,
            "JitterStrategy": "FULL",
        },
    ],
}
"""The state that invokes the function of a part, from the place of the part on.

The construct for this takes one function, and here the part names it."""


def _going_on(*, misses: str) -> Mapping[str, Any]:
    """Return the input of the next request: the place of the answer, and a step more."""
    kept = ("prefix", "number", "function", "event")
    return {
        **{f"{name}.$": f"$.{name}" for name in kept},
        "cursor": {"place.$": "$.got.answer.place", "limit.$": "$.cursor.limit"},
        "step.$": "States.MathAdd($.step, 1)",
        **({"misses": 0} if misses == "0" else {"misses.$": misses}),
    }

"""Accepted findings of cdk-nag: each rule, the place it is accepted at, and why.

This table is the only place where a finding is accepted. To accept one, add a row; to remove a row
that no template needs any more, delete it: a test names rows that accept nothing. The page
docs/reference/findings.md shows the table.

`at` is the construct's path without `PREFIX-ENVIRONMENT-` and without a final `/Resource`, as in
`pipeline/Audit/Logs`; the stack of any table is `pipeline`. `%` stands for any one name in it, or
in a rule. A finding about a wildcard carries the wildcard:
`AwsSolutions-IAM5[DeadLettersBucket/dead_letters/%/*]` accepts all objects below a processor's
prefix, and no wildcard else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from stacks.settings.names import PARTS


@dataclass(frozen=True)
class Accepted:
    """A rule that is accepted at some constructs; of all profiles, or of one alone.

    `unless` are constructs at which it is not accepted, although `at` fits.
    """

    rule: str
    at: str
    reason: str
    profile: str | None = None
    unless: tuple[str, ...] = ()

    def accepts(self, rule: str, path: str, profile: str) -> bool:
        """Return whether this row accepts a finding; rule and path as `readable` gives them."""
        return (
            self.profile in (None, profile)
            and _pattern(self.rule).fullmatch(rule) is not None
            and _pattern(self.at).fullmatch(path) is not None
            and path not in self.unless
        )


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace("%", "[^/]+"))


def rows_for(rule: str, path: str, profile: str) -> list[Accepted]:
    """Return the rows that accept a finding, given as the tool names it."""
    short = readable(rule, path)
    return [row for row in ACCEPTED if row.accepts(*short, profile)]


def readable(rule: str, path: str) -> tuple[str, str]:
    """Return rule and path without hashes, environment, account and Region.

    A role with many resources has them in several policies, and they are accepted like one.
    """
    for pattern, replacement in _SHORTER:
        rule = pattern.sub(replacement, rule)
    path = _STACK.sub(r"\1", path).removesuffix("/Resource")
    return rule, _OVERFLOW.sub("/DefaultPolicy", path)


_STACK = re.compile(rf"^[a-z0-9-]+?-({'|'.join(PARTS)})(-[a-z0-9-]+)?(?=/|$)")
"""The name of a stack, with the part that says what it is: PREFIX-ENVIRONMENT-PART."""

_OVERFLOW = re.compile(r"/OverflowPolicy\d+$")

_SHORTER = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\[(?:Resource|Action)::", "["),
        # An attribute or reference: <DeadLettersBucket3DB126B9.Arn>
        (r"<(\w+?)[0-9A-F]{8}(?:\.\w+)?>", r"\1"),
        # The name of a state machine, out of its ARN
        (r'\{"Fn::Select":\[6,\{"Fn::Split":\[":",\{"Ref":"(\w+?)[0-9A-F]{8}"\}\]\}\]\}', r"\1"),
        # What another stack exports: cdc-sandbox-search-DomainArn
        (r"[a-z0-9-]+-search-DomainArn", r"Domain"),
        (
            r"arn:(?:<AWS::Partition>|aws[a-z-]*):(\w+):(?:<AWS::Region>|[^:<]*)"
            r":(?:<AWS::AccountId>|\d{12}):",
            r"\1:",
        ),
    )
]


def _each(rules: str, at: str, reason: str, profile: str | None = None) -> Iterator[Accepted]:
    """Yield a row for each rule: the same fact under the names of both packs."""
    for rule in rules.split():
        yield Accepted(rule, at, reason, profile)


IAM5 = "AwsSolutions-IAM5"
NIST = "NIST.800.53.R5"

AS_ASKED = "As the settings ask; the index can be built again from the table."
OWN_KEYS = (
    "Encrypted at rest with keys that AWS owns or manages. Keys of your own cost money per key and "
    "per request, and every role and service here needs a grant on them: a fork that must have "
    "them adds them with their policies."
)
NO_VPC = "Every request is signed and encrypted; a VPC would put every function into it."

ACCEPTED: tuple[Accepted, ...] = (
    # Wildcards in policies
    Accepted(
        f"{IAM5}[DeadLettersBucket/dead-letters/%/*]",
        "pipeline/%/Role/DefaultPolicy",
        "A processor adds dead letters below its own prefix; it can read none.",
    ),
    Accepted(
        f"{IAM5}[DeadLettersOnFailure/*]",
        "pipeline/%/Role/DefaultPolicy",
        "Lambda refuses a mapping whose role may not put any object into its destination.",
        unless=("pipeline/Erasure/Role/DefaultPolicy",),
    ),
    Accepted(
        f"{IAM5}[LargeImagesBucket/*]",
        "pipeline/Audit/Role/DefaultPolicy",
        "Adds large images, each under its item and version.",
    ),
    Accepted(
        f"{IAM5}[LargeImagesBucket/*]",
        "pipeline/%/Role/DefaultPolicy",
        "A processor behind the change log reads the large images that entries point at.",
        unless=tuple(
            f"pipeline/{role}/Role/DefaultPolicy" for role in ("Audit", "Erasure", "Watcher")
        ),
    ),
    *(
        Accepted(
            f"{IAM5}[{domain}/%-{requests}]",
            "pipeline/Search/Role/DefaultPolicy",
            f"A rebuild makes, fills and deletes indexes that are numbered{where}; the aliases "
            "are names of these.",
        )
        for domain, where in (("Domain", ""), ("es:domain/%", ", in an existing domain"))
        for requests in ("write/*", "second/*", "v*")
    ),
    *(
        Accepted(
            f"{IAM5}[{objects}]",
            "pipeline/Erasure/Role/DefaultPolicy",
            "An erasure looks for an item in all objects, and deletes or rewrites those it finds.",
        )
        for objects in (
            "DeadLettersBucket/*",
            "DeadLettersBucket/archive/*",
            "DeadLettersBucket/aws/lambda/*",
            "DeadLettersOnFailure/*",
            "LargeImagesBucket/*",
        )
    ),
    *(
        Accepted(
            f"{IAM5}[{domain}/{requests}]",
            "pipeline/Erasure/Role/DefaultPolicy",
            "An erasure deletes the document of any item, in every index of a rebuild.",
        )
        for domain in ("Domain", "es:domain/%")
        for requests in (
            *("%-write/*", "%-second/*", "%-v*/*"),
            *("%-write/_doc/*", "%-v*/_doc/*", "%-v*/_mget"),
        )
    ),
    Accepted(
        f"{IAM5}[cloudformation:stack/%/*]",
        "pipeline/Erasure/Policy",
        "The last part is the stack's unique id, which changes with the stack.",
    ),
    *(
        Accepted(
            f"{IAM5}[{objects}]",
            "pipeline/Operator",
            "Operators list, read, redrive and archive all dead letters.",
        )
        for objects in (
            "DeadLettersBucket/dead-letters/*",
            "DeadLettersBucket/archive/*",
            "DeadLettersOnFailure/*",
        )
    ),
    Accepted(
        f"{IAM5}[LargeImagesBucket/*]",
        "pipeline/Operator",
        "Operators read the images that an item's history points at.",
    ),
    Accepted(
        f"{IAM5}[cloudformation:stack/%/*]",
        "pipeline/Operator",
        "The last part is the stack's unique id, which changes with the stack.",
    ),
    Accepted(
        f"{IAM5}[*]",
        "pipeline/Metrics",
        "CloudWatch takes no resource in a policy.",
    ),
    Accepted(
        f"{IAM5}[*]",
        "pipeline/%/Role/Tracing",
        "X-Ray takes no resource in a policy.",
    ),
    Accepted(
        f"{IAM5}[*]",
        "pipeline/%/Role/NetworkInterfaces",
        "The network interfaces of functions have no names before they are created; describing "
        "them takes no resource.",
    ),
    Accepted(
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
        "AWSCodeDeployRoleForLambdaLimited]",
        "pipeline/Observability/%/Release/ServiceRole",
        "The policy that AWS keeps for CodeDeploy's releases of functions.",
    ),
    # Buckets
    *_each(
        f"AwsSolutions-S1 {NIST}-S3BucketLoggingEnabled",
        "pipeline/%/%",
        "An access log would need a bucket of its own; CloudTrail data events tell the same.",
    ),
    Accepted(
        f"{NIST}-S3BucketVersioningEnabled",
        "pipeline/%/%",
        "The bucket policy or the writer's unique keys refuse overwriting, so there is one version "
        "of each object.",
    ),
    Accepted(
        f"{NIST}-S3BucketReplicationEnabled",
        "pipeline/%/%",
        "One Region: a second one needs a destination, which is the fork's decision.",
    ),
    Accepted(f"{NIST}-S3DefaultEncryptionKMS", "pipeline/%/%", OWN_KEYS),
    # Queues and topics
    Accepted(
        "AwsSolutions-SQS3",
        "pipeline/%/DeadLetters/Queue",
        "The queue is the last stop: its messages point at dead letters, and are not work.",
    ),
    Accepted(
        f"{NIST}-SNSEncryptedKMS",
        "pipeline/Observability/Alarms/Topic",
        "CloudWatch cannot publish under the AWS managed key, and a notification holds no data of "
        "the table.",
    ),
    # Functions
    Accepted(
        "AwsSolutions-L1",
        "pipeline/%/Function",
        "The runtime is raised together with the locked wheels, not when a newer one appears.",
    ),
    Accepted(
        f"{NIST}-LambdaConcurrency",
        "pipeline/%/Function",
        "Shards times the parallelization factor bound the concurrency, and a reservation takes "
        "from the account what a new account does not have.",
    ),
    Accepted(
        f"{NIST}-LambdaDLQ",
        "pipeline/%/Function",
        "A function's own queue is for asynchronous invocations. Mappings, which have an "
        "on-failure destination, invoke the processors; the watcher runs again five minutes later.",
    ),
    Accepted(f"{NIST}-LambdaInsideVPC", "pipeline/%/Function", NO_VPC),
    *(
        Accepted(
            f"{NIST}-IAMNoInlinePolicy",
            f"pipeline/%/{policy}",
            "The policy belongs to this one role, changes with it and is deleted with it.",
        )
        for policy in (
            *(f"Role/{name}" for name in ("DefaultPolicy", "Tracing", "NetworkInterfaces", "Key")),
            *("Machine/Role/DefaultPolicy", "Machine/DistributedMapPolicy"),
        )
    ),
    *(
        Accepted(
            f"{NIST}-CloudWatchAlarmAction",
            at,
            "Only where the settings ask that no one be told; a test holds that every alarm has an "
            "action where they name a receiver.",
        )
        for at in ("pipeline/Observability/%", "pipeline/Observability/%/%")
    ),
    # The state machine
    *(
        Accepted(
            f"{IAM5}[states:execution:MaintenanceMachine{end}]",
            f"pipeline/Maintenance/{at}",
            "An execution has a name of its own; only those of this state machine are reached.",
        )
        for at, end in (
            ("Machine/DistributedMapPolicy", ":*"),
            ("Machine/DistributedMapPolicy", "/*:*"),
            ("Operator", ":*"),
        )
    ),
    Accepted(
        f"{IAM5}[arn:<AWS::Partition>:s3:::MaintenanceRuns/*]",
        "pipeline/Maintenance/Machine/Role/DefaultPolicy",
        "The state machine reads the parts of a walk, and may read their answers.",
    ),
    *(
        Accepted(
            f"{IAM5}[MaintenanceRuns/runs/*]",
            f"pipeline/Maintenance/{at}",
            "Each answer is an object of its own, which the operator's command reads and deletes.",
        )
        for at in ("Machine/Role/DefaultPolicy", "Operator")
    ),
    *_each(
        "AwsSolutions-SF1 AwsSolutions-SF2",
        "pipeline/Maintenance/Machine",
        "Step Functions keeps the history of each execution for 90 days, and each answer of a "
        "function is an object; the functions have logs and, by a setting, traces.",
    ),
    # Logs
    Accepted(f"{NIST}-CloudWatchLogGroupEncrypted", "%/%/Logs", OWN_KEYS),
    Accepted(f"{NIST}-CloudWatchLogGroupEncrypted", "search-logs/%", OWN_KEYS),
    # The domain
    *_each(f"AwsSolutions-OS1 {NIST}-OpenSearchInVPCOnly", "search/Domain", NO_VPC),
    Accepted(
        "AwsSolutions-OS3",
        "search/Domain",
        "Functions have no fixed addresses; every request is signed instead.",
    ),
    Accepted("AwsSolutions-OS4", "search/Domain", f"{AS_ASKED} `search_masters` is 0."),
    Accepted("AwsSolutions-OS7", "search/Domain", f"{AS_ASKED} `search_zones` is 1."),
    *(
        Accepted(
            f"AwsSolutions-OS9[LogExport::{log}]",
            "search/Domain",
            "`search_logs` is false: the policy of logs is not visible at once to a domain that is "
            "made after it, and a Region has ten such policies.",
        )
        for log in ("SEARCH_SLOW_LOGS", "INDEX_SLOW_LOGS")
    ),
    Accepted(
        f"{NIST}-OpenSearchErrorLogsToCloudWatch",
        "search/Domain",
        "`search_logs` is false, as for AwsSolutions-OS9.",
    ),
)

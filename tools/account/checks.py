"""Judges AWS's responses before a deploy: pure functions from responses to findings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.names import MANIFEST
from local.deployed.deployment import QUALIFIER, QUALIFIER_KEY
from stacks.settings.functions import WITHOUT_SNAP_START, WITHOUT_TRACING
from stacks.settings.names import Naming
from stacks.settings.network import NetworkSettings
from tools.account.findings import Finding, Level

if TYPE_CHECKING:
    from tools.account.source_tables import SourceTable

# The rule `CheckBootstrapVersion` of a synthesised template refuses versions below it.
BOOTSTRAP_VERSION = 6
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
LOG_POLICIES_IN_A_REGION = 10
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
READERS_OF_A_STREAM = 2
# An on-demand table starts at 4,000 write units: four partitions, each with a shard of its own.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
SHARDS_AT_THE_START = 4
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
NEVER_RESERVED = 100
QUOTA_OF_CONCURRENCY = "L-B99A9384"
WITHOUT_BUCKETS = ("cn-",)
"""Beginnings of the Regions where a mapping on DynamoDB has no bucket as destination, nor metrics:
https://docs.amazonaws.cn/en_us/aws/latest/userguide/lambda.html"""
NOTIFICATIONS = "notifications"
"""The further sink that needs old images and SNS: lambdas/notifications."""


@dataclass(frozen=True)
class Wanted:
    """Requirements of a deploy: the parts of an environment's settings that checks need."""

    names: Naming
    """Names of the environment, of its stacks, and its profile."""
    account: str
    region: str
    lanes: int
    """Invocations at once for a shard, of all mappings: the sum of `parallelization_factor`."""
    mappings: int
    """Event source mappings of all pipelines."""
    engine: str
    """OpenSearch version of the domain, such as `OpenSearch_3.5`."""
    instance_types: tuple[str, ...] = ()
    """Of the domain's nodes; none where the environment uses an existing domain."""
    zones: int = 1
    publishes_logs: bool = False
    """Whether the environment's own domain publishes logs, which needs a resource policy."""
    domain: tuple[str, str] | None = None
    """Name and Region of the existing domain that `search_url` names."""
    domain_is_public: bool = False
    """Whether the existing domain has an address outside of any VPC, as its endpoint says."""
    domain_account: str | None = None
    """Account in `search_domain_arn`; None without it."""
    alarm_topic: str | None = None
    makes_topic: bool = False
    """Whether it makes a topic for its alarms."""
    snap_start: bool = False
    tracing: bool = False
    qualifier: str = QUALIFIER
    """Of the CDK's bootstrap."""
    reserved: int = 0
    """Invocations that all functions reserve together."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    gateway_stack: str | None = None
    """Stack that has the gateway endpoints; None without them."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Declared source table of each pipeline's stack."""
    key: str | None = None
    """ARN of the customer's key."""
    former_keys: Sequence[str] = ()
    """ARNs of the customer's keys before it."""
    further_sinks: Sequence[str] = ()
    """Sinks that entities use in addition to the built-in ones."""
    source_tables: Sequence["SourceTable"] = ()
    """Source tables that exist."""
    expires_by: Mapping[str, str | None] = field(default_factory=dict)
    """Declared attribute of Time to Live of each source table that the app makes."""

    @property
    def environment(self) -> str:
        return self.names.name

    @property
    def prefix(self) -> str:
        return f"{self.names.stack_prefix}-"


def bootstrap(version: str | None, wanted: Wanted) -> list[Finding]:
    """`version` is the value of the parameter /cdk-bootstrap/QUALIFIER/version."""
    where = f"account {wanted.account}, Region {wanted.region}"
    options = ""
    if wanted.qualifier != QUALIFIER:
        where += f", qualifier {wanted.qualifier}"
        options = f' CDK_OPTIONS="-c {QUALIFIER_KEY}={wanted.qualifier}"'
    again = f"run `make bootstrap ENVIRONMENT={wanted.environment}{options}` once."
    if version is None:
        return [Finding("bootstrap", "blocking", f"The CDK is not set up in {where}: {again}")]
    if not version.isdigit() or int(version) < BOOTSTRAP_VERSION:
        sentence = (
            f"The CDK's bootstrap stack in {where} has version {version}, and the templates need "
            f"{BOOTSTRAP_VERSION} or later: {again}"
        )
        return [Finding("bootstrap", "blocking", sentence)]
    return [Finding("bootstrap", "ok", f"Bootstrap version {version}.")]


def region(wanted: Wanted) -> list[Finding]:
    """Whether the Region has the features of Lambda that the settings ask for."""
    findings = []
    for setting, is_asked, without in (
        ("snap_start", wanted.snap_start, WITHOUT_SNAP_START),
        ("tracing", wanted.tracing, WITHOUT_TRACING),
    ):
        if is_asked and wanted.region.startswith(without):
            sentence = (
                f"{setting} is set, which Lambda lacks in Region {wanted.region}: leave it out."
            )
            findings.append(Finding("Region", "blocking", sentence))
    if wanted.region.startswith(WITHOUT_BUCKETS):
        sentence = (
            f"Lambda may not write batches that it gives up to S3 in Region {wanted.region}, nor "
            "have metrics of mappings, and the event source mappings of every processor ask for "
            "both: see whether AWS has added them (Getting Started with Amazon Web Services in "
            "China, Lambda) before you deploy."
        )
        findings.append(Finding("Region", "warning", sentence))
    return findings


@dataclass(frozen=True)
class Concurrency:
    """Invocations at once that Lambda allows the account in the Region.

    Attributes:
        total: all of them.
        unreserved: those that are reserved for no function.
        own: those that the environment's functions reserve now; None if that may not be read.
    """

    total: int
    unreserved: int
    own: int | None = 0


def reservations(limit: Concurrency, wanted: Wanted) -> list[Finding]:
    """Whether the account has as many invocations to reserve as the deploy asks for."""
    others = 0 if limit.own is None else limit.total - limit.unreserved - limit.own
    asked = f"reserved_concurrency asks for {wanted.reserved:,} invocations in all"
    if 0 < wanted.reserved > limit.total - others - NEVER_RESERVED:
        sentence = (
            f"{asked}. Of the account's {limit.total:,}, other functions reserve {others:,} and "
            f"Lambda keeps {NEVER_RESERVED} unreserved: give less, or request more for the account."
        )
        return [Finding("concurrency", "blocking", sentence)]
    if limit.own is None and 0 < wanted.reserved > limit.unreserved - NEVER_RESERVED:
        sentence = (
            f"{asked}, {limit.unreserved:,} are unreserved now, of which Lambda keeps "
            f"{NEVER_RESERVED}, and how many the environment's functions reserve already could not "
            "be read: allow lambda:GetFunctionConcurrency and cloudformation:ListStackResources."
        )
        return [Finding("concurrency", "warning", sentence)]
    return []


def concurrency(limit: Concurrency, wanted: Wanted) -> list[Finding]:
    """Whether the account lets the functions run, and reserve what the settings say."""
    if refused := reservations(limit, wanted):
        return refused
    unreserved = limit.unreserved
    wish = wanted.lanes * SHARDS_AT_THE_START
    if unreserved >= wish:
        return [Finding("concurrency", "ok", f"Lambda may run {unreserved:,} functions at once.")]
    sentence = (
        f"Lambda may run {unreserved:,} functions at once here (new accounts have 10), and "
        f"{wanted.mappings} mappings with {wanted.lanes} lanes together for each of "
        f"{SHARDS_AT_THE_START} shards need {wish}: "
        "under load they are throttled and late. Request more: `aws service-quotas "
        f"request-service-quota-increase --service-code lambda --quota-code {QUOTA_OF_CONCURRENCY} "
        "--desired-value 1000`."
    )
    return [Finding("concurrency", "warning", sentence)]


def log_policies(names: Sequence[str], wanted: Wanted) -> list[Finding]:
    """`names` are the resource policies of CloudWatch Logs in the Region."""
    said = f"{len(names)} of {LOG_POLICIES_IN_A_REGION} resource policies of CloudWatch Logs"
    full = len(names) >= LOG_POLICIES_IN_A_REGION
    ours = f"{wanted.prefix}search".replace("-", "")
    is_there = any(name.replace("-", "").lower().startswith(ours) for name in names)
    if not (full and wanted.publishes_logs) or is_there:
        return [Finding("log policies", "ok", f"{said} are in use.")]
    sentence = (
        f"{said} are in use, and a domain that publishes logs needs one more: merge or delete one "
        "(`aws logs describe-resource-policies`, `aws logs delete-resource-policy --policy-name "
        "NAME`), or set search_logs to false."
    )
    return [Finding("log policies", "blocking", sentence)]


@dataclass(frozen=True)
class Offer:
    """Offer of OpenSearch Service in a Region.

    `zones` has the availability zones of each instance type that the engine supports; an empty list
    means that they are unknown.
    """

    versions: Sequence[str]
    zones: Mapping[str, Sequence[str]]


def domain_offer(offer: Offer, wanted: Wanted) -> list[Finding]:
    """Whether the environment's own domain can be made in the Region."""
    recovery = (
        "set others (search_instance_type), choose another Region, or use an existing "
        'domain (CDK_OPTIONS="-c search_url=https://search-NAME-ID.REGION.es.amazonaws.com").'
    )

    def blocking(what: str) -> Finding:
        return Finding("search domain", "blocking", f"{what} in Region {wanted.region}: {recovery}")

    if wanted.engine not in offer.versions:
        return [blocking(f"{wanted.engine} is not offered")]
    found = []
    for kind in wanted.instance_types:
        if kind not in offer.zones:
            found.append(blocking(f"The instance type {kind} is not offered for {wanted.engine}"))
            continue
        zones = offer.zones[kind]
        if zones and len(zones) < wanted.zones:
            what = f"The instance type {kind} is offered in {len(zones)} of {wanted.zones} zones"
            found.append(blocking(what))
    types = " and ".join(wanted.instance_types)
    return found or [
        Finding("search domain", "ok", f"{wanted.engine} on {types} is offered in {wanted.region}.")
    ]


def domain_place(wanted: Wanted) -> list[Finding]:
    """Whether the existing domain is in another account, which this one cannot ask."""
    if wanted.domain is None or wanted.domain_account in (None, wanted.account):
        return []
    name, region = wanted.domain
    sentence = (
        f"The domain {name} is in account {wanted.domain_account}, Region {region}: its access "
        f"policy must allow es:ESHttp* to account {wanted.account}, and fine-grained access "
        "control, if the domain has it, must map the roles of the search function and of the "
        "one that erases."
    )
    return [Finding("search domain", "warning", sentence)]


def existing_domain(status: Mapping[str, Any] | None, wanted: Wanted) -> list[Finding]:
    """`status` is the DomainStatus of the domain in `search_url`, None if there is none."""
    assert wanted.domain is not None
    name, region = wanted.domain
    if status is None:
        sentence = (
            f"There is no domain {name} in account {wanted.account}, Region {region}, which "
            "search_url names: correct search_url, or name the domain of another account as "
            "search_domain_arn."
        )
        return [Finding("search domain", "blocking", sentence)]
    if status.get("AdvancedSecurityOptions", {}).get("Enabled"):
        sentence = (
            f"The domain {name} has fine-grained access control, which answers 403 until you map "
            "the roles of the search function and of the one that erases: after the deploy, map "
            "them (Dashboards, Security, Roles, all_access or one of your own, Mapped users, "
            "Backend roles)."
        )
        return [Finding("search domain", "warning", sentence)]
    return [Finding("search domain", "ok", f"The domain {name} in Region {region} is used.")]


def foreign(names: Sequence[str], wanted: Wanted) -> list[Finding]:
    """`names` are stacks with the environment's names and without the app's tags."""
    if not names:
        return []
    sentence = (
        f"{' and '.join(names)}: another program's, without the tags application="
        f"{wanted.names.prefix} and environment={wanted.names.name}: choose another environment "
        "or prefix."
    )
    return [Finding("stacks", "blocking", sentence)]


def source_tables_of(stack: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the source tables in the manifest of a stack that DescribeStacks gives."""
    [manifest] = [
        json.loads(output["OutputValue"])
        for output in stack.get("Outputs", ())
        if output["OutputKey"] == MANIFEST
    ] or [{}]
    found: list[dict[str, Any]] = manifest.get("source_tables", [])
    return found


def other_copies(found: Sequence[Mapping[str, Any]], wanted: Wanted) -> list[Finding]:
    """Find stacks of the environment that follow another table than the one that is declared."""
    findings = []
    for stack in found:
        declared = wanted.tables.get(stack["StackName"])
        deployed = [table["name"] for table in source_tables_of(stack)]
        if declared is not None and deployed not in ([], [declared]):
            sentence = (
                f"{stack['StackName']} follows the table {', '.join(deployed)}, and lambdas/domain "
                f"declares {declared}. Undo the rename if you made one: the deploy would make an "
                "empty table. If the stack is another copy of the app, set a prefix "
                "(-c prefix=NAME), or choose another environment."
            )
            findings.append(Finding("stacks", "blocking", sentence))
    return findings


def time_to_live(table: str, description: Mapping[str, str], declared: str | None) -> list[Finding]:
    """Whether one deploy can give the declared Time to Live to a table that the app made.

    The attribute of one that is on can be neither changed nor left out:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-dynamodb-globaltable-timetolivespecification.html
    https://github.com/aws/aws-cdk/issues/25655

    `description` is the table's TimeToLiveDescription.
    """
    status, attribute = description.get("TimeToLiveStatus"), description.get("AttributeName")
    wait = (
        f"wait until `aws dynamodb describe-time-to-live --table-name {table}` says DISABLED, up "
        "to an hour, and deploy then"
    )
    if status == "DISABLING" and declared:
        sentence = f"Time to Live of table {table} is being turned off: {wait}."
    elif status in ("ENABLED", "ENABLING") and attribute != declared:
        sentence = (
            f"Time to Live of table {table} is by {attribute}, lambdas/domain declares expires_by="
            f"{declared!r}, and no deploy can change it while it is on: turn it off (`aws dynamodb "
            f"update-time-to-live --table-name {table} --time-to-live-specification "
            f"Enabled=false,AttributeName={attribute}`), {wait}."
        )
    else:
        return []
    return [Finding("Time to Live", "blocking", sentence)]


def stacks(found: Sequence[Mapping[str, Any]], wanted: Wanted) -> list[Finding]:
    """`found` are the environment's stacks as DescribeStacks gives them."""
    findings = [
        Finding("stacks", level, f"{stack['StackName']} is {stack['StackStatus']}: {sentence}")
        for stack in found
        for level, sentence in _state_of(stack, wanted)
    ]
    if findings:
        return findings
    names = ", ".join(f"{stack['StackName']} {stack['StackStatus']}" for stack in found)
    return [Finding("stacks", "ok", f"Stacks: {names or 'none yet'}.")]


def _state_of(stack: Mapping[str, Any], wanted: Wanted) -> Iterator[tuple[Level, str]]:
    name, state = stack["StackName"], stack["StackStatus"]
    why = f"`aws cloudformation describe-stack-events --stack-name {name}` says why"
    unprotect = (
        "aws cloudformation update-termination-protection --no-enable-termination-protection "
        f"--stack-name {name}"
    )
    protected = stack.get("EnableTerminationProtection", False)
    if state == "REVIEW_IN_PROGRESS":
        yield "warning", "an earlier deploy stopped before it began; the next one continues it."
    elif state.endswith("_IN_PROGRESS"):
        yield (
            "blocking",
            "CloudFormation is at work, also after an interrupted command: wait until "
            f"`aws cloudformation describe-stacks --stack-name {name}` shows the end.",
        )
    elif state in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED") and protected:
        yield (
            "blocking",
            f"its first deploy failed and it is protected from deletion: {why}; then `{unprotect}` "
            f"and `aws cloudformation delete-stack --stack-name {name}`.",
        )
    elif state in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
        yield "warning", f"its first deploy failed ({why}); the next deploy deletes it first."
    elif state == "DELETE_FAILED":
        yield (
            "blocking",
            f"an earlier destroy failed: `make destroy ENVIRONMENT={wanted.environment}` "
            f"continues it ({why}).",
        )
    elif state == "UPDATE_ROLLBACK_FAILED":
        yield (
            "blocking",
            f"an update and its rollback failed: {why}; fix that, then `aws "
            f"cloudformation continue-update-rollback --stack-name {name}`.",
        )
    elif state.endswith("_FAILED"):
        yield "warning", f"an earlier deploy failed half-way ({why}); the next one continues."


@dataclass(frozen=True)
class Reader:
    """One reader of a stream through Lambda."""

    uuid: str
    reader: str
    state: str
    ours: bool


@dataclass(frozen=True)
class StreamReaders:
    """Readers of a table's stream; `pipes` are names of EventBridge Pipes."""

    table: str
    mappings: Sequence[Reader] = ()
    pipes: Sequence[str] = field(default_factory=tuple)


def readers(streams: Sequence[StreamReaders], wanted: Wanted) -> list[Finding]:
    """Find readers of other programs, and readers of the environment that are disabled."""
    findings = []
    for stream in streams:
        others = [each for each in stream.mappings if not each.ours]
        total = len(stream.mappings) + len(stream.pipes)
        named = [f"{each.reader} (mapping {each.uuid})" for each in others]
        named += [f"pipe {name}" for name in stream.pipes]
        if named:
            sentence = (
                f"The stream of table {stream.table} is also read by {', '.join(named)}, "
                f"{total} readers in all; DynamoDB serves {READERS_OF_A_STREAM} before it "
                "throttles them: remove it, or let it read the change log's stream if it has room."
            )
            level: Level = "warning" if total > READERS_OF_A_STREAM else "ok"
            findings.append(Finding("readers", level, sentence))
        findings += [
            Finding(
                "readers",
                "warning",
                f"The mapping {each.uuid} of {each.reader} is {each.state}, and a deploy does not "
                f"start it: `aws lambda update-event-source-mapping --uuid {each.uuid} --enabled`.",
            )
            for each in stream.mappings
            if each.ours and each.state in ("Disabled", "Disabling")
        ]
    return findings or [Finding("readers", "ok", "No stream of the environment has other readers.")]


def topic_place(wanted: Wanted) -> list[Finding]:
    """Whether `alarm_topic_arn` is a topic that alarms of this account and Region can notify."""
    arn = wanted.alarm_topic or ""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sns" or not parts[5]:
        sentence = (
            f"alarm_topic_arn={arn} is not a topic's ARN: give "
            f"arn:aws:sns:{wanted.region}:{wanted.account}:NAME."
        )
        return [Finding("alarm topic", "blocking", sentence)]
    if parts[3] != wanted.region:
        # PutMetricAlarm says: Invalid region eu-west-1 specified. Only us-east-1 is supported.
        sentence = (
            f"The topic {arn} is in Region {parts[3]}, and alarms of {wanted.region} can only "
            f"notify topics in {wanted.region}: name a topic there as alarm_topic_arn."
        )
        return [Finding("alarm topic", "blocking", sentence)]
    if parts[4] != wanted.account:
        sentence = (
            f"The topic {arn} is in account {parts[4]}: its policy must let cloudwatch.amazonaws."
            f"com publish with aws:SourceAccount {wanted.account}; raise one alarm by hand to see "
            "that it arrives (`aws cloudwatch set-alarm-state`)."
        )
        return [Finding("alarm topic", "warning", sentence)]
    return []


def topic(attributes: Mapping[str, str] | None, wanted: Wanted) -> list[Finding]:
    """Whether CloudWatch can publish to a topic of this account and Region.

    `attributes` are those of GetTopicAttributes, None if there is no such topic.
    """
    if attributes is None:
        sentence = f"There is no topic {wanted.alarm_topic}: create it, or correct alarm_topic_arn."
        return [Finding("alarm topic", "blocking", sentence)]
    key = attributes.get("KmsMasterKeyId")
    if key in ("alias/aws/sns", "aws/sns"):
        sentence = (
            f"The topic {wanted.alarm_topic} is encrypted with the key {key}, whose policy "
            "denies alarms: use a key of your own that allows cloudwatch.amazonaws.com."
        )
        return [Finding("alarm topic", "warning", sentence)]
    return [Finding("alarm topic", "ok", f"Alarms notify {wanted.alarm_topic}.")]


def leftovers(names: Sequence[str], wanted: Wanted) -> list[Finding]:
    """`names` are resources with the environment's prefix, while none of its stacks exists."""
    if not names:
        return []
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    sentence = (
        f"There is no stack, but {len(names)} resources of an earlier deployment ({some}), which "
        f"may cost money: `make destroy ENVIRONMENT={wanted.environment}` lists them with the "
        "commands that remove them."
    )
    return [Finding("leftovers", "warning", sentence)]

"""The environments that the app can be deployed to, and their settings.

`-c environment=NAME` chooses one. Its settings have defaults here, values of the project's own in
`cdk.json` under `environments.NAME`, and overrides on the command line (`-c alarm_email=...`), in
that order. A setting that is misspelt or out of range stops synth with one sentence, because an
ignored setting would be noticed only in production.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from dynamodb_streams_cdc.entities import Table
from stacks.constructs.change_feed import READERS_PER_SHARD
from stacks.endpoints import ManagedDomain, managed_domain, normalised
from stacks.errors import SynthError

EnvironmentName = Literal["sandbox", "production", "local"]
SearchAuth = Literal["iam", "none"]
AlarmsSent = Literal["none"]

NAMES: tuple[str, ...] = get_args(EnvironmentName)
RETENTION_DAYS = (1, 3, 7, 14, 30, 90, 180, 365, 731, 3653)
TABLE_ARN = r"^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}$"
STREAM_ARN = rf"{TABLE_ARN[:-1]}/stream/\d{{4}}-\d\d-\d\dT[\d:.]+$"
KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"
TOPIC_ARN = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"
SHARDS_OF_A_NEW_STREAM = 4
"""A new on-demand table takes 4,000 write units a second from four partitions, each with a shard of
the stream: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"""
# Context keys that are not settings: the choice itself, the settings of cdk.json, and two switches.
OTHER_CONTEXT = ("environment", "environments", "nag", "cli-telemetry")


class SettingsError(SynthError):
    """A setting is missing, unknown or out of range."""


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        message = f"must be one of {', '.join(map(str, RETENTION_DAYS))}"
        raise ValueError(message)
    return days


def _parsed(value: object) -> object:
    """Return a setting that is an object, given on the command line as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        message = f"must be a JSON object: {error}"
        raise ValueError(message) from None


class ExistingTable(BaseModel):
    """A source table that exists.

    Attributes:
        arn: of the table.
        stream_arn: of its current stream.
        readers: Lambda functions and other programs that read the stream already. Unit: readers per
            shard.
        canary: whether the watcher writes the canary into the table, every five minutes; other
            readers of the stream get it too.
        key_arn: KMS key of the table, if it is the customer's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arn: Annotated[str, Field(pattern=TABLE_ARN)]
    stream_arn: Annotated[str, Field(pattern=STREAM_ARN)]
    readers: Annotated[int, Field(ge=0, le=2)] = 0
    canary: bool = False
    key_arn: Annotated[str, Field(pattern=KEY_ARN)] | None = None

    @model_validator(mode="after")
    def _stream_is_of_the_table(self) -> Self:
        if not self.stream_arn.startswith(f"{self.arn}/stream/"):
            message = f"stream_arn is not a stream of {self.arn}"
            raise ValueError(message)
        return self


class SearchCluster(BaseModel):
    """The size of the OpenSearch domain that an environment creates.

    Attributes:
        nodes: Data nodes.
        instance_type: Instance type of a data node.
        volume_gib: EBS volume of each data node. Unit: GiB.
        masters: Dedicated master nodes.
        master_instance_type: Instance type of a dedicated master node.
        zones: Availability Zones of the data nodes.
        publishes_logs: Whether the domain publishes its logs to CloudWatch Logs.
    """

    model_config = ConfigDict(frozen=True)

    nodes: int
    instance_type: str
    volume_gib: int
    masters: int = 0
    master_instance_type: str | None = None
    zones: int = 1
    publishes_logs: bool = False


class Environment(BaseModel):
    """One environment; every field but the name and the cluster is a setting.

    docs/reference/settings.md shows what follows; tools/settings_page.py reads it.

    Attributes:
        search_url: Endpoint of an existing OpenSearch domain. Without it, the app creates a domain;
            local has to name a cluster.
            Example: `https://search-orders-abc.eu-west-1.es.amazonaws.com`.
        search_auth: Authorisation of requests to OpenSearch: signed with the function's role, or
            none, which only local may use. Example: `iam`.
        index_prefix: Beginning of the indexes' names, in front of those that the domain declares:
            for several deployments on one cluster. Example: `staging-`.
        source_tables: Source tables that exist, by the name that the domain declares. Without one,
            the app creates the table. Unit: JSON. Example:
            `{"orders": {"arn": "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders",
            "stream_arn":
            "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-01-01T00:00:00.000"}}`.
        epoch: First part of every version. Raise it when the sinks follow a restored table or
            another Region. Example: `0002`.
        log_retention_days: Time that CloudWatch keeps the functions' logs. Unit: days. Example:
            `90`.
        parallelization_factor: Batches of a shard that a function processes at the same time. Unit:
            batches per shard. Example: `4`.
        aggregate_shards: Rows over which each aggregate is spread, at least four times
            `parallelization_factor`. It may be raised at any time. Unit: rows. Example: `16`.
        alarm_email: Address that receives the alarms; AWS asks it for a confirmation.
            Example: `on-call@example.com`.
        alarm_topic_arn: SNS topic in the same Region that receives the alarms.
            Example: `arn:aws:sns:eu-west-1:123456789012:on-call`.
        alarms: `none` deploys production without a receiver of alarms. Production needs one of the
            three. Example: `none`.
        protection: Termination protection of the stacks and deletion protection of the tables.
            `make deploy` turns it off for a first deploy: CloudFormation cannot remove a protected
            stack that failed. Example: `true`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: EnvironmentName
    search_cluster: SearchCluster | None = None

    search_url: str | None = None
    search_auth: SearchAuth = "iam"
    index_prefix: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,100})?$")] = ""
    source_tables: Annotated[dict[str, ExistingTable], BeforeValidator(_parsed)] = {}
    epoch: Annotated[str, Field(pattern=r"^\d{4}$")] = "0001"
    log_retention_days: Annotated[
        int, AfterValidator(_retention), Field(json_schema_extra={"enum": list(RETENTION_DAYS)})
    ] = 14
    parallelization_factor: Annotated[int, Field(ge=1, le=10)] = 2
    aggregate_shards: Annotated[int, Field(ge=1, le=100)] = 8
    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = None
    alarm_topic_arn: Annotated[str, Field(pattern=TOPIC_ARN)] | None = None
    alarms: AlarmsSent | None = None
    protection: bool = False

    @property
    def keeps_data(self) -> bool:
        """Whether tables, dead letters and logs outlive their stack."""
        return self.name == "production"

    @property
    def makes_domain(self) -> bool:
        """Whether it has a domain of its own."""
        return self.search_url is None and self.search_cluster is not None

    def readers(self, table: Table) -> int:
        """Return how many processors may read a table's stream, next to those that already do."""
        existing = self.source_tables.get(table.name)
        return READERS_PER_SHARD - (existing.readers if existing else 0)

    def stack_names(self, tables: Sequence[Table]) -> tuple[str, ...]:
        """Return the names of its stacks, in the order in which they are deployed."""
        publishes = self.search_cluster is not None and self.search_cluster.publishes_logs
        parts = {"search-logs": self.makes_domain and publishes, "search": self.makes_domain}
        made = [part for part, is_made in parts.items() if is_made]
        pipelines = (table.stack for table in tables)
        return tuple(f"cdc-{self.name}-{part}" for part in (*made, *pipelines))

    @property
    def is_emulated(self) -> bool:
        """Whether it is the laptop's, whose emulator knows no metric math and no Logs Insights."""
        return self.name == "local"

    @property
    def managed_domain(self) -> ManagedDomain | None:
        """The existing managed domain that `search_url` names."""
        if self.search_url is None or self.search_auth == "none":
            return None
        return managed_domain(self.search_url)

    @field_validator("search_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        return None if url is None else normalised(url)

    @model_validator(mode="after")
    def _alarms_have_a_receiver(self) -> Self:
        receivers = {
            name: value
            for name in ("alarm_topic_arn", "alarm_email", "alarms")
            if (value := getattr(self, name)) is not None
        }
        if self.name == "local" and receivers:
            name = next(iter(receivers))
            message = f"Setting {name!r} is not for environment local, which sends no mail"
            raise ValueError(message)
        if len(receivers) > 1:
            message = (
                f"Settings {' and '.join(map(repr, receivers))} exclude each other: give the one "
                "that says who is told of alarms"
            )
            raise ValueError(message)
        if self.name == "production" and not receivers:
            message = (
                "Environment production has to say who is told of its alarms: pass "
                "-c alarm_topic_arn=ARN of an SNS topic in the Region, -c alarm_email=ADDRESS, or "
                "-c alarms=none if no one shall be"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _every_writer_has_a_shard(self) -> Self:
        writers = SHARDS_OF_A_NEW_STREAM * self.parallelization_factor
        if self.aggregate_shards < writers:
            message = (
                f"Setting 'aggregate_shards' is {self.aggregate_shards}, fewer than the {writers} "
                f"lanes that may add to one sum at once ({SHARDS_OF_A_NEW_STREAM} shards of a new "
                f"stream, parallelization_factor {self.parallelization_factor}): their "
                f"transactions would conflict; give at least {writers}"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _search_is_reachable(self) -> Self:
        if self.search_url is None and self.search_cluster is None:
            message = (
                f"Setting 'search_url' is missing: environment {self.name} makes no OpenSearch "
                "domain, so say which cluster to use (-c search_url=http://127.0.0.1:9250)"
            )
            raise ValueError(message)
        if self.search_auth == "none" and self.name != "local":
            message = (
                "Setting 'search_auth' is 'none', which is for environment local: "
                f"leave it out, {self.name} signs its requests"
            )
            raise ValueError(message)
        try:
            _ = self.managed_domain
        except ValueError as error:
            message = f"Setting 'search_url' is {self.search_url!r}, which {error}"
            raise ValueError(message) from None
        return self


DEFAULTS: dict[str, dict[str, Any]] = {
    "sandbox": {
        "search_cluster": SearchCluster(nodes=1, instance_type="t3.small.search", volume_gib=10),
    },
    "production": {
        "search_cluster": SearchCluster(
            nodes=3,
            instance_type="r7g.large.search",
            volume_gib=100,
            masters=3,
            master_instance_type="m7g.medium.search",
            zones=3,
            publishes_logs=True,
        ),
        "log_retention_days": 365,
        "parallelization_factor": 4,
        "aggregate_shards": 16,
        "protection": True,
    },
    "local": {"log_retention_days": 1, "search_auth": "none"},
}
SETTINGS: tuple[str, ...] = tuple(
    field for field in Environment.model_fields if field not in ("name", "search_cluster")
)


def load(context: Mapping[str, Any]) -> Environment:
    """Return the environment that the app's context chooses.

    Raises:
        SettingsError: with a sentence that names the setting, its place, and what to do.

    """
    _refuse_unknown_context(context)
    name = _chosen(context)
    own = _own_settings(context, name)
    overrides = {key: context[key] for key in SETTINGS if key in context}
    try:
        return Environment.model_validate({**DEFAULTS[name], **own, **overrides, "name": name})
    except ValidationError as error:
        raise SettingsError(_sentence(error, name, overrides)) from None


def _chosen(context: Mapping[str, Any]) -> str:
    name = context.get("environment")
    choices = ", ".join(NAMES)
    if name is None:
        message = (
            f"No environment is chosen: pass -c environment=NAME, where NAME is one of {choices}."
        )
        raise SettingsError(message)
    if name not in NAMES:
        message = f"Unknown environment {name!r}: pass -c environment= with one of {choices}."
        raise SettingsError(message)
    return str(name)


def _own_settings(context: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings that cdk.json holds for an environment; every environment's are checked."""
    environments = context.get("environments", {})
    if not isinstance(environments, Mapping):
        message = "The context key environments must be an object in cdk.json: one per environment."
        raise SettingsError(message)
    for key, settings in environments.items():
        _refuse_unknown(key, NAMES, "environment", "cdk.json under environments")
        if not isinstance(settings, Mapping):
            message = f"cdk.json: environments.{key} must be an object of settings."
            raise SettingsError(message)
        for setting in settings:
            _refuse_unknown(setting, SETTINGS, "setting", f"cdk.json under environments.{key}")
    return dict(environments.get(name, {}))


def _refuse_unknown_context(context: Mapping[str, Any]) -> None:
    for key in context:
        # The CDK's own keys (feature flags, cached look-ups) carry a namespace.
        if not key.startswith("@") and ":" not in key:
            _refuse_unknown(key, (*SETTINGS, *OTHER_CONTEXT), "setting", "the context (-c)")


def _refuse_unknown(key: str, known: tuple[str, ...], kind: str, place: str) -> None:
    if key in known:
        return
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    message = f"Unknown {kind} {key!r} in {place}: {hint}"
    raise SettingsError(message)


def _sentence(error: ValidationError, name: str, overrides: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{reason}."
    setting = str(first["loc"][0])
    place = f"-c {setting}=" if setting in overrides else f"cdk.json under environments.{name}"
    return f"Setting {setting!r} is {first['input']!r} in {place}: {reason[0].lower()}{reason[1:]}."

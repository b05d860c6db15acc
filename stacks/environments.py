"""The environments that the app can be deployed to, and their settings.

`-c environment=NAME` chooses one. Its settings have the defaults of its profile here, values of the
project's own in `cdk.json` under `environments.NAME`, and overrides on the command line
(`-c alarm_email=...`), in that order. A setting of processors may be given for one of them:
`batch_size.audit`. A setting that is misspelt or out of range stops synth with one sentence,
because an ignored setting would be noticed only in production.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, ValidationInfo, model_validator

from dynamodb_streams_cdc.entities import Table
from stacks.errors import SynthError
from stacks.settings.alarms import AlarmSettings
from stacks.settings.encryption import EncryptionSettings
from stacks.settings.functions import FunctionSettings
from stacks.settings.general import GeneralSettings
from stacks.settings.maintenance import MaintenanceSettings
from stacks.settings.names import (
    PREFIX,
    PROFILES,
    Naming,
    checked_name,
)
from stacks.settings.network import NetworkSettings
from stacks.settings.processors import ProcessorSettings
from stacks.settings.search import SearchSettings
from stacks.settings.tables import TableSettings

# Context keys that are not settings: the choice itself, the settings of cdk.json, and two switches.
OTHER_CONTEXT = ("environment", "environments", "nag", "cli-telemetry")
OF_AWS = (
    *("vpc_id", "kms_key_arn", "permissions_boundary_arn", "tracing", "reserved_concurrency"),
    *("snap_start", "former_key_arns"),
)
PER_PROCESSOR: tuple[str, ...] = tuple(ProcessorSettings.model_fields)
SHARDS_OF_A_NEW_STREAM = 4
"""A new on-demand table takes 4,000 write units a second from four partitions, each with a shard of
the stream: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"""
DEFAULTS: dict[str, dict[str, Any]] = {
    "sandbox": {},
    "production": {
        "search_nodes": 3,
        "search_instance_type": "r7g.large.search",
        "search_volume_gib": 100,
        "search_masters": 3,
        "search_master_instance_type": "m7g.medium.search",
        "search_zones": 3,
        "search_logs": True,
        "log_retention_days": 365,
        "parallelization_factor": 4,
        "aggregate_shards": 16,
        "protection": True,
    },
    "local": {"log_retention_days": 1, "search_auth": "none", "maintenance": False},
}
"""The defaults of each profile, where they are not those of the fields."""


class SettingsError(SynthError):
    """A setting is missing, unknown or out of range."""


class Environment(
    Naming,
    GeneralSettings,
    TableSettings,
    SearchSettings,
    ProcessorSettings,
    FunctionSettings,
    NetworkSettings,
    EncryptionSettings,
    AlarmSettings,
    MaintenanceSettings,
):
    """One environment, with the rules between its groups of settings.

    `processors` has the settings of the processors that have some of their own.
    """

    processors: Mapping[str, ProcessorSettings] = {}

    def processor(self, name: str) -> ProcessorSettings:
        """Return the settings of a processor."""
        return self.processors.get(name, self)

    def check_processors(self, names: Iterable[str]) -> None:
        """Check that each processor with settings of its own is one of the app's.

        Raises:
            SettingsError: one is not.
        """
        known = tuple(names)
        for name in self.processors:
            _refuse_unknown(name, known, "processor", "a setting SETTING.PROCESSOR")

    def check_tables(self, tables: Sequence[Table]) -> None:
        """Check the settings whose rules depend on the tables.

        Raises:
            SettingsError: the domain that the app makes for the tables lacks subnets.
        """
        cluster, subnets = self.cluster_for(tables), len(self.subnet_ids)
        if cluster is not None and self.vpc_id is not None and subnets < cluster.zones:
            message = (
                f"Setting 'subnet_ids' has {subnets} for a domain in {cluster.zones} zones "
                "('search_zones'): give a subnet of each zone."
            )
            raise SettingsError(message)

    def stack_names(self, tables: Sequence[Table]) -> tuple[str, ...]:
        """Return the names of its stacks, in the order in which they are deployed."""
        cluster = self.cluster_for(tables)
        made = {
            "search-logs": cluster is not None and cluster.publishes_logs,
            "search": cluster is not None,
            **dict.fromkeys((table.stack for table in tables), True),
        }
        return tuple(f"{self.stack_prefix}-{part}" for part, is_made in made.items() if is_made)

    def gateway_stack(self, tables: Sequence[Table]) -> str | None:
        """Return the name of the stack that has the gateway endpoints; None without them.

        A route table takes one gateway of each service, so one pipeline has those of all. It is the
        pipeline whose name sorts first, in any order of the tables: `pipeline` comes before
        every `pipeline-NAME`, so the endpoints of an app that began with one table never move.
        """
        if self.vpc_id is None or not self.route_table_ids:
            return None
        return min((f"{self.stack_prefix}-{table.stack}" for table in tables), default=None)

    @model_validator(mode="after")
    def _alarms_have_a_receiver(self) -> Self:
        receivers = self.alarm_receivers
        if self.profile == "local" and receivers:
            message = f"Setting {receivers[0]!r} is not for environment local, which sends no mail"
            raise ValueError(message)
        if len(receivers) > 1:
            message = (
                f"Settings {' and '.join(map(repr, receivers))} exclude each other: give the one "
                "that says who is told of alarms"
            )
            raise ValueError(message)
        if self.profile == "production" and not receivers:
            message = (
                f"Environment {self.name} has to say who is told of its alarms: pass "
                "-c alarm_topic_arn=ARN of an SNS topic in the Region, -c alarm_email=ADDRESS, or "
                "-c alarms=none if no one shall be"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _the_laptop_is_not_in_aws(self) -> Self:
        found = [name for name in OF_AWS if getattr(self, name)]
        found += ["release"] if self.release == "gradual" else []
        if self.profile == "local" and found:
            message = f"Setting {found[0]!r} is for AWS, and environment local is this machine's"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _every_writer_has_a_shard(self) -> Self:
        factor = self.processor("aggregation").parallelization_factor
        writers = SHARDS_OF_A_NEW_STREAM * factor
        if self.aggregate_shards < writers:
            message = (
                f"Setting 'aggregate_shards' is {self.aggregate_shards}, fewer than the {writers} "
                f"lanes that may add to one sum at once ({SHARDS_OF_A_NEW_STREAM} shards of a new "
                f"stream, parallelization_factor {factor}): their "
                f"transactions would conflict; give at least {writers}"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _search_is_reachable(self, info: ValidationInfo) -> Self:
        if self.search_url is None and self.profile == "local":
            message = (
                f"Setting 'search_url' is missing: environment {self.name} makes no OpenSearch "
                "domain, so say which cluster to use (-c search_url=http://127.0.0.1:9250)"
            )
            raise ValueError(message)
        if self.search_auth == "none" and self.profile != "local":
            message = (
                "Setting 'search_auth' is 'none', which is for environment local: "
                f"leave it out, {self.name} signs its requests"
            )
            raise ValueError(message)
        self.check_search(_given(info))
        domain = self.managed_domain
        if domain is not None and domain.in_vpc and self.vpc_id is None:
            message = (
                f"Setting 'search_url' is {self.search_url!r}, which is reached only from inside "
                "its VPC: give 'vpc_id', 'subnet_ids' and 'security_group_ids' of that VPC, too"
            )
            raise ValueError(message)
        self.check_network()
        return self


GROUPS: tuple[type[BaseModel], ...] = Environment.__bases__
"""The groups of settings, in the order of docs/reference/settings.md."""
SETTINGS: tuple[str, ...] = tuple(
    field for group in GROUPS for field in group.model_fields if field != "name"
)


ROOT = Path(__file__).parents[1]
_OF_INDEXES = ("search_url", "search_domain_arn", "index_prefix")
"""Settings that say into which indexes an environment writes."""


def _given(info: ValidationInfo) -> frozenset[str]:
    """Return the settings of cdk.json and of -c, without the defaults of the profile."""
    return frozenset(info.context or ())


def load(context: Mapping[str, Any], project: Mapping[str, Any] | None = None) -> Environment:
    """Return the environment that the app's context chooses.

    `project` is the context that cdk.json alone gives, without `-c`: that of the file by default.

    Raises:
        SettingsError: with a sentence that names the setting, its place, and what to do.
    """
    name, given, overrides = _read(context)
    values = {**DEFAULTS.get(given["profile"], {}), **given, "name": name}
    own: dict[str, dict[str, Any]] = {}
    for key in [key for key in values if "." in key]:
        setting, _, processor = key.partition(".")
        own.setdefault(processor, {})[setting] = values.pop(key)
    common = {key: value for key, value in values.items() if key in PER_PROCESSOR}
    values["processors"] = {each: common | settings for each, settings in own.items()}
    try:
        environment = Environment.model_validate(values, context=frozenset(given))
    except ValidationError as error:
        raise SettingsError(_sentence(error, name, overrides)) from None
    top_level = cdk_json() if project is None else project
    _refuse_shared_indexes(environment, context.get("environments", {}), top_level)
    return environment


def cdk_json() -> dict[str, Any]:
    """Return the context that cdk.json gives the app.

    Raises:
        SettingsError: the file is missing, is not JSON, or has no context.
    """
    try:
        content = json.loads((ROOT / "cdk.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"cdk.json cannot be read: {error}."
        raise SettingsError(message) from None
    context = content.get("context") if isinstance(content, dict) else None
    if not isinstance(context, dict):
        message = 'cdk.json has no object "context", which holds the settings.'
        raise SettingsError(message)
    return context


def _refuse_shared_indexes(
    environment: Environment,
    known: Mapping[str, Mapping[str, Any]],
    top_level: Mapping[str, Any],
) -> None:
    """Compare the indexes with those of the other environments that cdk.json has.

    Settings at the top level of its context are those of every environment, as in `_read`. The
    settings that `-c` gives another environment are unknown here.

    Raises:
        SettingsError: another one writes into the same indexes, and each would overwrite the other.
    """
    for name, settings in known.items():
        if name in (environment.name, "local"):
            continue
        found = {**settings, **top_level}
        search = {key: found[key] for key in _OF_INDEXES if key in found}
        try:
            other = SearchSettings.model_validate(search)
        except ValidationError:
            continue  # its own deploy says why
        if environment.shares_indexes_with(other):
            message = (
                f"Environments {environment.name!r} and {name!r} write into the same indexes: both "
                f"use the domain of {other.search_url} and index_prefix {other.index_prefix!r}. In "
                "cdk.json, under environments, give one of them an index_prefix of its own, and "
                f"keep it there: of {name!r}, a prefix that only -c gives does not count. If the "
                "domains are two, give each search_domain_arn."
            )
            raise SettingsError(message)


def names(context: Mapping[str, Any]) -> Naming:
    """Return the names of the environment that the context chooses, and its profile.

    Its other settings may be wrong or missing.

    Raises:
        SettingsError: with a sentence.
    """
    name, given, overrides = _read(context)
    values = {key: given[key] for key in ("prefix", "profile") if key in given}
    try:
        return Naming.model_validate({**values, "name": name})
    except ValidationError as error:
        raise SettingsError(_sentence(error, name, overrides)) from None


def _read(context: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the environment's name, the settings that are given, and those given by -c."""
    _refuse_unknown_context(context)
    environments = _environments(context)
    name = _chosen(context, environments)
    overrides = {key: value for key, value in context.items() if key.partition(".")[0] in SETTINGS}
    given = {"profile": name, **environments.get(name, {}), **overrides}
    if name == "local":
        # A prefix of the whole cdk.json is for copies in an account.
        given["prefix"] = PREFIX
    return name, given, overrides


def _chosen(context: Mapping[str, Any], environments: Mapping[str, Any]) -> str:
    name = context.get("environment")
    choices = ", ".join(dict.fromkeys([*PROFILES, *environments]))
    if name is None or name == "":
        message = (
            f"No environment is chosen: pass -c environment=NAME, where NAME is one of {choices}."
        )
        raise SettingsError(message)
    if name not in (*PROFILES, *environments) and "profile" not in context:
        message = (
            f"Unknown environment {name!r}: pass -c environment= with one of {choices}, or give "
            'the new one a profile in cdk.json ("environments": '
            f'{{"{name}": {{"profile": "sandbox"}}}}).'
        )
        raise SettingsError(message)
    _check_name(str(name), "-c environment=")
    return str(name)


def _check_name(name: str, place: str) -> None:
    try:
        checked_name(name)
    except ValueError as error:
        message = f"The environment's name {name!r} in {place} {error}."
        raise SettingsError(message) from None


def _environments(context: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The settings that cdk.json holds for each environment, with names that are checked."""
    environments = context.get("environments", {})
    if not isinstance(environments, Mapping):
        message = "The context key environments must be an object in cdk.json: one per environment."
        raise SettingsError(message)
    for key, settings in environments.items():
        if not isinstance(settings, Mapping):
            message = f"cdk.json: environments.{key} must be an object of settings."
            raise SettingsError(message)
        for setting in settings:
            _refuse_unknown_setting(setting, f"cdk.json under environments.{key}")
        if key not in PROFILES and "profile" not in settings:
            near = get_close_matches(key, PROFILES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            message = (
                f"Environment {key!r} in cdk.json under environments has no profile: {hint}"
                'A name of your own takes "profile": "sandbox" or "production".'
            )
            raise SettingsError(message)
        _check_name(key, "cdk.json under environments")
    return environments


def _refuse_unknown_context(context: Mapping[str, Any]) -> None:
    for key in context:
        # The CDK's own keys (feature flags, cached look-ups) carry a namespace.
        if not key.startswith("@") and ":" not in key and key not in OTHER_CONTEXT:
            _refuse_unknown_setting(key, "the context (-c)", ("environment",))


def _refuse_unknown_setting(key: str, place: str, others: tuple[str, ...] = ()) -> None:
    setting, dot, processor = key.partition(".")
    _refuse_unknown(setting, (*SETTINGS, *others), "setting", place)
    if dot and not (processor and setting in PER_PROCESSOR):
        message = (
            f"Setting {key!r} in {place} is none of a processor: SETTING.PROCESSOR takes "
            f"{', '.join(PER_PROCESSOR)}."
        )
        raise SettingsError(message)


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
    match first["loc"]:
        case ():
            return f"{reason}."
        case ("processors", processor, setting, *_):
            setting = named = f"{setting}.{processor}"
        case (setting, *fields):
            setting = str(setting)
            named = ".".join([setting, *(each for each in fields if isinstance(each, str))])
    place = f"-c {setting}=" if setting in overrides else f"cdk.json under environments.{name}"
    value = "missing" if first["type"] == "missing" else repr(first["input"])
    return f"Setting {named!r} is {value} in {place}: {reason[0].lower()}{reason[1:]}."

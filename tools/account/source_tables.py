"""Judges source tables that exist, and the streams that a deploy reads of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import AUDIT
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from tools.account.checks import NOTIFICATIONS, READERS_OF_A_STREAM, StreamReaders
from tools.account.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamodb_streams_cdc.entities import Table
    from stacks.settings.tables import ExistingTable
    from tools.account.checks import Wanted
    from tools.account.findings import Level

CHECK = "source table"
_USABLE = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True)
class SourceTable:
    """A table of the declaration that exists, as the setting `source_tables` names it."""

    declared: Table
    setting: ExistingTable

    @property
    def name(self) -> str:
        """The physical name."""
        return self.setting.arn.rpartition("/")[2]

    def is_in(self, account: str, region: str) -> bool:
        """Whether it is in an account and a Region."""
        return self.setting.arn.split(":")[3:5] == [region, account]


@dataclass(frozen=True)
class Found:
    """What AWS says about a table.

    Attributes:
        table: from DescribeTable.
        time_to_live: from DescribeTimeToLive.
        readers: of the stream that the setting names.
        manager: `CUSTOMER` or `AWS`, who manages the table's key; None if that may not be read.
    """

    table: Mapping[str, Any]
    time_to_live: Mapping[str, Any] = field(default_factory=dict)
    readers: StreamReaders = field(default_factory=lambda: StreamReaders(""))
    manager: str | None = "AWS"


def elsewhere(source: SourceTable, wanted: Wanted) -> list[Finding]:
    """Whether the table is in the account and the Region of the deploy."""
    if source.is_in(wanted.account, wanted.region):
        return []
    region, account = source.setting.arn.split(":")[3:5]
    sentence = (
        f"Table {source.name} is in account {account}, Region {region}, and this deploy is for "
        f"account {wanted.account}, Region {wanted.region}: deploy where the table is; this app "
        "reads tables of its own account and Region."
    )
    return [Finding(CHECK, "blocking", sentence)]


def absent(source: SourceTable) -> list[Finding]:
    """Return the finding for a table that DescribeTable does not find."""
    sentence = (
        f"There is no table {source.name}, which source_tables names for "
        f"{source.declared.name!r}: correct its arn."
    )
    return [Finding(CHECK, "blocking", sentence)]


def judged(source: SourceTable, found: Found, wanted: Wanted) -> list[Finding]:
    """Return the findings on a table that exists; what it had before the deploy is always one."""
    problems = [*_state(source, found), *_stream(source, found), *_key(source, found, wanted)]
    others = [*_readers(source, found), *_time_to_live(source, found)]
    findings = [Finding(CHECK, level, sentence) for level, sentence in (*problems, *others)]
    if not problems:
        findings.append(Finding(CHECK, "ok", _before(source, found, wanted)))
    return findings


def _state(source: SourceTable, found: Found) -> Iterator[tuple[Level, str]]:
    name, table = source.name, found.table
    if (status := table["TableStatus"]) != "ACTIVE":
        yield "blocking", f"Table {name} is {status}: wait until it is ACTIVE."
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    schema = sorted(table["KeySchema"], key=lambda each: each["KeyType"] == "RANGE")
    keys = {each["AttributeName"]: types[each["AttributeName"]] for each in schema}
    if list(keys.items()) != list(source.declared.keys.items()):
        yield (
            "blocking",
            f"Table {name} has the keys {_shown(keys)}, and lambdas/domain declares "
            f"{_shown(source.declared.keys)} for {source.declared.name!r}: correct the declaration "
            "or the arn.",
        )


def _shown(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in keys.items())


def _stream(source: SourceTable, found: Found) -> Iterator[tuple[Level, str]]:
    name = source.name
    specification = found.table.get("StreamSpecification", {})
    enable = (
        f"`aws dynamodb update-table --table-name {name} --stream-specification "
        f"StreamEnabled=true,StreamViewType={_USABLE}`"
    )
    if not specification.get("StreamEnabled"):
        yield (
            "blocking",
            f"Table {name} has no stream: enable it ({enable}) and set stream_arn to the "
            "LatestStreamArn of the response.",
        )
        return
    current = found.table["LatestStreamArn"]
    if current != source.setting.stream_arn:
        yield (
            "blocking",
            f"The stream of table {name} was replaced: the current one is {current}, and "
            f"source_tables has {source.setting.stream_arn}: set stream_arn to the current one.",
        )
    view = specification["StreamViewType"]
    if lost := _lost(source, view):
        yield (
            "blocking",
            f"The stream of table {name} has the view type {view}, {lost}: disable the stream "
            f"(its other readers stop), enable it with {_USABLE} ({enable}), and set stream_arn to "
            "the new one.",
        )


def key_of_table(table: Mapping[str, Any]) -> str:
    """Return the key of KMS that a table is encrypted with, empty if DynamoDB owns it."""
    return str(table.get("SSEDescription", {}).get("KMSMasterKeyArn", ""))


def _key(source: SourceTable, found: Found, wanted: Wanted) -> Iterator[tuple[Level, str]]:
    """Whether the roles may use the table's key, without which they read neither it nor its stream.

    DynamoDB Streams are encrypted with the table's key:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
    """
    used = key_of_table(found.table)
    named = {source.setting.key_arn, wanted.key, *wanted.former_keys}
    if used in named or found.manager == "AWS":
        return
    if found.manager is None:
        yield (
            "unknown",
            f"Whether the key {used} of table {source.name} is a customer's, which key_arn has to "
            "name, could not be checked: allow kms:DescribeKey.",
        )
        return
    yield (
        "blocking",
        f"Table {source.name} is encrypted with the customer's key {used}, and source_tables has "
        f"key_arn={source.setting.key_arn!r}: the functions could read neither the table nor its "
        "stream; set key_arn to the table's key.",
    )


def _lost(source: SourceTable, view: str) -> str:
    """Return what a stream's records lack; empty if the declared copies can do without it."""
    if view in ("KEYS_ONLY", "OLD_IMAGE"):
        return "whose records lack the state after a change, so no copy can follow it"
    if view == "NEW_IMAGE":
        if source.declared.using(AUDIT):
            return "whose records lack the state before a change, which the change log keeps"
        if source.declared.using(NOTIFICATIONS):
            return "whose records lack the state before a change, which the notifications compare"
        if any(entity.expiry is Expiry.KEEP for entity in source.declared.using("aggregation")):
            return "whose records lack the expired item, which Expiry.KEEP keeps in the sums"
    return ""


def _readers(source: SourceTable, found: Found) -> Iterator[tuple[Level, str]]:
    names = [each.reader for each in found.readers.mappings if not each.ours]
    names += [f"pipe {name}" for name in found.readers.pipes]
    stated = source.setting.readers
    if len(names) > stated:
        level: Level = "blocking" if len(names) >= READERS_OF_A_STREAM else "warning"
        yield (
            level,
            f"The stream of table {source.name} has {len(names)} other readers "
            f"({', '.join(names)}), and source_tables says {stated}: set readers to {len(names)}; "
            f"DynamoDB serves {READERS_OF_A_STREAM} before it throttles them.",
        )
    elif len(names) < stated:
        yield (
            "ok",
            f"Lambda and EventBridge Pipes have {len(names)} readers of the stream of table "
            f"{source.name}, and source_tables says {stated}: lower readers unless a program that "
            "they do not list reads it.",
        )
    regions = [each["RegionName"] for each in found.table.get("Replicas", ())]
    if regions and not source.setting.global_table:
        yield (
            "warning",
            f"Table {source.name} is a global table, whose stream serves one reader per shard: set "
            "global_table to true.",
        )


def _time_to_live(source: SourceTable, found: Found) -> Iterator[tuple[Level, str]]:
    is_on = found.time_to_live.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    attribute = found.time_to_live.get("AttributeName") if is_on else None
    declared = source.declared.expires_by
    if attribute != declared:
        yield (
            "warning",
            f"Time to Live of table {source.name} is by {attribute or 'no attribute'}, and "
            f"lambdas/domain declares expires_by={declared!r}: correct the declaration, or the "
            "table.",
        )


def _before(source: SourceTable, found: Found, wanted: Wanted) -> str:
    count = found.table.get("ItemCount", 0)
    return (
        f"Table {source.name} is read by its stream, which has no record of items that did not "
        f"change in the last 24 hours (about {count:,} items are in it): after the deploy, `cdc "
        f"backfill --environment {wanted.environment} --stack "
        f"{wanted.prefix}{source.declared.stack}` brings them into the copies."
    )

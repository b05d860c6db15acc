"""Judges a customer key before a deploy: pure functions from KMS's responses to findings."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tools.account.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tools.account.checks import Wanted

CHECK = "key"
FORMER = "former keys"
PAGE = "docs/how-to/use-a-key-of-your-own.md"
EVENTS = "events.amazonaws.com"
SERVICES = {
    "logs.{region}.amazonaws.com": ("log groups", ("kms:Encrypt", "kms:GenerateDataKey")),
    EVENTS: ("queues", ("kms:Decrypt", "kms:GenerateDataKey")),
    "cloudwatch.amazonaws.com": ("alarms' topic", ("kms:Decrypt", "kms:GenerateDataKey")),
}
"""Services that use the key for themselves, by their principal; the page has the sources."""


def place(wanted: Wanted) -> list[Finding]:
    """Whether the ARN is of the account and Region that the deploy goes to."""
    arn = str(wanted.key)
    _, _, _, region, account, _ = arn.split(":", 5)
    if (region, account) == (wanted.region, wanted.account):
        return []
    sentence = (
        f"kms_key_arn={arn} is in account {account}, Region {region}, and the deploy goes to "
        f"account {wanted.account}, Region {wanted.region}: name a key there."
    )
    return [Finding(CHECK, "blocking", sentence)]


def state(metadata: Mapping[str, Any] | None, wanted: Wanted) -> list[Finding]:
    """`metadata` is the key's KeyMetadata, None if there is no such key."""

    def blocking(what: str) -> list[Finding]:
        return [Finding(CHECK, "blocking", f"The key {wanted.key} {what}")]

    if metadata is None:
        return blocking("does not exist: create it, or correct kms_key_arn.")
    if metadata["KeyState"] != "Enabled":
        return blocking(f"is {metadata['KeyState']}: enable it, or name another as kms_key_arn.")
    if metadata.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        return blocking(
            f"is of the kind {metadata['KeySpec']}, and the services encrypt with symmetric keys "
            "only: name one of those as kms_key_arn."
        )
    return []


def policy(document: Mapping[str, Any], wanted: Wanted) -> list[Finding]:
    """`document` is the key's policy.

    Conditions in it are not evaluated. EventBridge counts as refused by one on the source, for the
    reasons on the page.
    """
    findings = []
    for form, (resources, actions) in SERVICES.items():
        service = form.format(region=wanted.region)
        if service.startswith("cloudwatch") and not wanted.makes_topic:
            continue
        if missing := [each for each in actions if not _allows(document, service, each)]:
            sentence = (
                f"The policy of the key {wanted.key} does not let {service} do "
                f"{' and '.join(missing)}, which the encrypted {resources} need: add the statement "
                f"that {PAGE} shows, with no further condition."
            )
            findings.append(Finding(CHECK, "blocking", sentence))
    ok = Finding(CHECK, "ok", f"The key {wanted.key} can be used by the services and the roles.")
    return findings or [ok]


def former(arn: str, metadata: Mapping[str, Any] | None) -> list[Finding]:
    """Whether a former key can decrypt; `metadata` is its KeyMetadata, None if there is none."""
    if metadata is not None and metadata["KeyState"] == "Enabled":
        return []
    how = "does not exist" if metadata is None else f"is {metadata['KeyState']}"
    sentence = (
        f"The former key {arn} {how}: nothing that was encrypted with it can be read; enable it, "
        "or remove it from former_key_arns if nothing is left under it."
    )
    return [Finding(FORMER, "warning", sentence)]


def unnamed(keys: Mapping[str, str], wanted: Wanted) -> list[Finding]:
    """Whether the roles keep the access to the keys of buckets; `keys` has a bucket for each."""
    named = {_id(each) for each in (wanted.key, *wanted.former_keys) if each}
    return [
        Finding(
            FORMER,
            "warning",
            f"The bucket {bucket} is encrypted with {key}, which neither kms_key_arn nor "
            "former_key_arns names: after the deploy, its objects cannot be read; add the key to "
            f"former_key_arns ({PAGE}).",
        )
        for key, bucket in keys.items()
        if _id(key) not in named
    ]


def _id(key: str) -> str:
    return key.rpartition("/")[2]


def _allows(document: Mapping[str, Any], service: str, action: str) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and not (service == EVENTS and "aws:source" in str(statement.get("Condition")).lower())
        and any(name in (service, "*") for name in _services(statement.get("Principal", {})))
        and any(
            fnmatchcase(action.lower(), pattern.lower())
            for pattern in _each(statement.get("Action", []))
        )
        for statement in _each(document["Statement"])
    )


def _services(principal: Any) -> Iterator[str]:
    if principal == "*":
        yield "*"
    elif isinstance(principal, dict):
        yield from _each(principal.get("Service", []))


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

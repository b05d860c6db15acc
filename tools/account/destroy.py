"""Removes an environment from an account and lists the resources that stay.

Stacks are found by their prefix, even if they are no longer part of the app. Every step reads the
current state and may be interrupted and repeated. First the event source mappings stop, so that no
function writes; then buckets are emptied and policies detached, which CloudFormation does not do;
then stacks are deleted, those that import from another first. Buckets of the environment that no
stack holds any more are deleted at the end: an update that took a bucket out of its stack could not
delete it with objects in it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from stacks.settings.names import Naming
from tools.account import inventory
from tools.account.identity import Account, AccountError

Say = Callable[[str], None]

PATIENCE = 45 * 60.0
"""Seconds for one stack; deleting a domain takes up to half an hour."""
_MAPPING_PATIENCE = 10 * 60.0
_ATTEMPTS = 3
_LISTINGS = 12  # every ten seconds, until no resource is listed
_MOST_EMPTIED = 20  # times that one bucket is emptied
_GONE = frozenset({"NoSuchBucket", "404", "ResourceNotFoundException"})


@dataclass
class Removal:
    """One destroy of one environment; `problems` are sentences about resources that stay."""

    account: Account
    names: Naming
    say: Say = print
    pause: Callable[[float], object] = lambda seconds: time.sleep(seconds)
    clock: Callable[[], float] = time.monotonic
    problems: list[str] = field(default_factory=list)
    _kept: set[str] = field(default_factory=set, init=False)
    """Physical names of the resources of stacks that stay."""

    def run(self) -> bool:
        """Remove all that is not protected; return whether no resource is left."""
        protected, doomed = [], []
        for stack in inventory.stacks(self.account, self.names):
            if not inventory.is_ours(stack, self.names):
                self.problems.append(
                    f"{stack['StackName']} stays: it has our prefix but not the tags "
                    f"application={self.names.prefix} and environment={self.names.name}."
                )
                protected.append(stack)
            elif stack.get("EnableTerminationProtection"):
                self.problems.append(f"{stack['StackName']} is protected from deletion and stays.")
                protected.append(stack)
            else:
                doomed.append(stack)
        self._settle(doomed)
        if doomed:
            self._kept = {
                each.get("PhysicalResourceId", "")
                for stack in protected
                for each in inventory.resources(self.account, stack["StackId"])
            }
            self._stop_mappings()
        self._delete(doomed, protected)
        self._delete_leftover_buckets()
        return self._list_the_rest()

    def _settle(self, stacks: Sequence[Mapping[str, Any]]) -> None:
        """Wait for stacks that CloudFormation is still creating, updating or rolling back."""
        for stack in stacks:
            state = str(stack["StackStatus"])
            if state.endswith("_IN_PROGRESS") and state not in (
                "REVIEW_IN_PROGRESS",
                "DELETE_IN_PROGRESS",
            ):
                self.say(f"{stack['StackName']} is {state}: waiting until it is over.")
                self._wait(str(stack["StackId"]))

    def _stop_mappings(self) -> None:
        """Disable the environment's event source mappings and wait until they have stopped."""
        client = self.account.client("lambda")
        deadline = self.clock() + _MAPPING_PATIENCE
        asked: set[str] = set()
        while waiting := self._polling():
            for mapping in waiting:
                uuid = mapping["UUID"]
                if uuid not in asked and _disable(client, uuid):
                    function = mapping["FunctionArn"].split(":")[6]
                    self.say(f"Stopping the event source mapping {uuid} of {function}.")
                    asked.add(uuid)
            if self.clock() > deadline:
                states = ", ".join(f"{each['UUID']} is {each['State']}" for each in waiting)
                message = (
                    f"The event source mappings did not stop within {_MAPPING_PATIENCE / 60:.0f} "
                    f"minutes ({states}): run the same command again."
                )
                raise AccountError(message)
            self.pause(1.0)

    def _polling(self) -> list[dict[str, Any]]:
        return [
            mapping
            for mapping in inventory.mappings(self.account, self.names)
            if mapping["State"] not in ("Disabled", "Deleting")
            and not {mapping["UUID"], mapping["FunctionArn"].split(":")[6]} & self._kept
        ]

    def _delete(
        self, stacks: Sequence[Mapping[str, Any]], protected: Sequence[Mapping[str, Any]]
    ) -> None:
        """Delete stacks one after the other, each after those that import from it."""
        left = {str(stack["StackName"]): stack for stack in stacks}
        kept = {str(stack["StackName"]) for stack in protected}
        while left:
            importers = {name: self._importers(stack) for name, stack in left.items()}
            free = [name for name in left if not importers[name] & (left.keys() | kept)]
            if not free:
                for name in left:
                    self._keep_for(importers[name], name)
                return
            for name in free:
                stack = left.pop(name)
                if importers[name]:  # stacks of other programs
                    self._keep_for(importers[name], name)
                    kept.add(name)
                elif not self._delete_one(stack):
                    kept.add(name)

    def _keep_for(self, importers: set[str], name: str) -> None:
        users = ", ".join(sorted(importers))
        self.problems.append(f"{name} stays because {users} imports from it.")

    def _importers(self, stack: Mapping[str, Any]) -> set[str]:
        client = self.account.client("cloudformation")
        found: set[str] = set()
        for output in stack.get("Outputs", ()):
            if "ExportName" not in output:
                continue
            listing = inventory.pages(
                client, "list_imports", "Imports", ExportName=output["ExportName"]
            )
            try:
                found |= set(listing)
            except ClientError as error:
                # An export that no stack imports.
                if error.response["Error"]["Code"] != "ValidationError":
                    raise
        return found - {str(stack["StackName"])}

    def _delete_one(self, stack: Mapping[str, Any]) -> bool:
        """Delete a stack; a bucket that filled up again is emptied and the deletion repeated."""
        client = self.account.client("cloudformation")
        name, stack_id = str(stack["StackName"]), str(stack["StackId"])
        for attempt in range(1, _ATTEMPTS + 1):
            for kind, resource in self._left(stack_id):
                if kind == "AWS::S3::Bucket":
                    self._empty(resource)
                elif kind == "AWS::IAM::ManagedPolicy":
                    self._detach(resource)
            self.say(f"Deleting {name}.")
            client.delete_stack(StackName=stack_id)
            state = self._wait(stack_id)
            if state == "DELETE_COMPLETE":
                return True
            if attempt < _ATTEMPTS:
                self.say(f"{name} is {state}: trying again.")
        for resource, reason in self._failures(stack_id):
            self.problems.append(f"{name} could not be deleted: {resource}: {reason}")
        return False

    def _delete_leftover_buckets(self) -> None:
        """Delete the buckets with the app's tags that are in no stack of the environment."""
        held = {
            each.get("PhysicalResourceId", "")
            for stack in inventory.stacks(self.account, self.names)
            for each in inventory.resources(self.account, stack["StackId"])
        }
        client = self.account.client("s3")
        for bucket in inventory.look(self.account, self.names, ("bucket",)).resources:
            if bucket.name in held:
                continue
            try:
                if inventory.is_our_bucket(self.account, self.names, bucket.name):
                    self._empty(bucket.name)
                    self.say(f"Deleting {bucket.name}, which no stack holds.")
                    client.delete_bucket(Bucket=bucket.name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _GONE:
                    self.problems.append(f"{bucket.name} could not be deleted: {error}.")

    def _left(self, stack_id: str) -> list[tuple[str, str]]:
        """Return type and physical name of each resource of a stack that is left."""
        return [
            (each["ResourceType"], each["PhysicalResourceId"])
            for each in inventory.resources(self.account, stack_id)
            if each["ResourceStatus"] != "DELETE_COMPLETE" and each.get("PhysicalResourceId")
        ]

    def _detach(self, policy: str) -> None:
        """Detach a policy from those whom it was given, such as the operators' role.

        IAM deletes no policy that is attached. Where this is not allowed, CloudFormation says so.
        """
        client = self.account.client("iam")
        try:
            for kind, detach in (
                ("Role", client.detach_role_policy),
                ("User", client.detach_user_policy),
                ("Group", client.detach_group_policy),
            ):
                holders = inventory.pages(
                    client,
                    "list_entities_for_policy",
                    f"Policy{kind}s",
                    PolicyArn=policy,
                    EntityFilter=kind,
                    PolicyUsageFilter="PermissionsPolicy",
                )
                for holder in list(holders):
                    name = holder[f"{kind}Name"]
                    detach(PolicyArn=policy, **{f"{kind}Name": name})
                    self.say(
                        f"Detached {policy.rpartition('/')[2]} from the {kind.lower()} {name}."
                    )
        except ClientError as error:
            self.say(f"Detach {policy} if anybody has it, this may not: {error}.")

    def _empty(self, bucket: str) -> None:
        """Delete every object, version and delete marker of a bucket."""
        client = self.account.client("s3")
        listing = client.get_paginator("list_object_versions")
        for attempt in range(_MOST_EMPTIED):
            try:
                # A page has at most 1,000 objects, as one DeleteObjects takes.
                doomed = [_versions(page) for page in listing.paginate(Bucket=bucket)]
            except ClientError as error:
                if error.response["Error"]["Code"] in _GONE:
                    return
                raise
            if not any(doomed):
                return
            if attempt == 0:
                self.say(f"Emptying {bucket}.")
            for versions in filter(None, doomed):
                answer = client.delete_objects(
                    Bucket=bucket, Delete={"Objects": versions, "Quiet": True}
                )
                for refused in answer.get("Errors", ())[:1]:
                    message = (
                        f"{bucket}: {refused['Key']} cannot be deleted ({refused['Code']}: "
                        f"{refused.get('Message', '')})."
                    )
                    raise AccountError(message)
        self.say(f"{bucket} fills up while it is emptied: another program writes to it.")

    def _wait(self, stack_id: str) -> str:
        """Return the state of a stack after CloudFormation has finished with it."""
        client = self.account.client("cloudformation")
        deadline = self.clock() + PATIENCE
        while True:
            try:
                [stack] = client.describe_stacks(StackName=stack_id)["Stacks"]
            except ClientError as error:
                if error.response["Error"]["Code"] == "ValidationError":
                    return "DELETE_COMPLETE"
                raise
            state = str(stack["StackStatus"])
            if not state.endswith("_IN_PROGRESS"):
                return state
            if self.clock() > deadline:
                message = (
                    f"{stack['StackName']} is {state} for {PATIENCE / 60:.0f} minutes: read its "
                    "events, and run the same command again."
                )
                raise AccountError(message)
            self.pause(2.0)

    def _failures(self, stack_id: str) -> list[tuple[str, str]]:
        found = [
            (each["LogicalResourceId"], each.get("ResourceStatusReason", "no reason is given"))
            for each in inventory.resources(self.account, stack_id)
            if each["ResourceStatus"] == "DELETE_FAILED"
        ]
        return found or [("the stack", "its events say why")]

    def _list_the_rest(self) -> bool:
        rest = inventory.look(self.account, self.names)
        for _ in range(_LISTINGS):
            # Some resources, such as queues, are listed for a minute after their deletion.
            if not rest.resources or self.problems:
                break
            self.pause(10.0)
            rest = inventory.look(self.account, self.names)
        for kind, reason in rest.unseen.items():
            self.problems.append(_cannot_list(kind, reason))
        tell(self.problems, rest, self.say)
        if rest.resources or self.problems:
            return False
        self.say(
            f"Nothing of environment {self.names.name} is left in account {self.account.number}, "
            f"Region {self.account.region}. The stack CDKToolkit, which all CDK apps share, stays."
        )
        return True


def tell(problems: Sequence[str], rest: inventory.Inventory, say: Say) -> None:
    """Print the resources that stay, and the commands that remove them."""
    for problem in problems:
        say(problem)
    if rest.resources:
        say(f"Still there: {len(rest.resources)}. These commands remove them, for good:")
    for resource in rest.resources:
        say(f"  {resource}")
        for line in resource.removal:
            say(f"    {line}")


def _cannot_list(kind: str, reason: str) -> str:
    return f"Cannot list resources of the kind {kind}: {reason}"


def refuse_production(account: Account, names: Naming) -> None:
    """List the resources of an environment with profile production and remove none.

    Raises:
        AccountError: always.
    """
    rest = inventory.look(account, names)
    tell([_cannot_list(kind, why) for kind, why in rest.unseen.items()], rest, print)
    message = (
        f"No make target destroys {names.name}, which has profile production: its stacks have "
        "termination protection, and its tables, buckets and domain stay when they are deleted. "
        + (
            "The commands above remove what is listed. Stacks come first, one after the other."
            if rest.resources
            else "No resource of it was found."
        )
    )
    raise AccountError(message)


def _versions(page: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"Key": each["Key"], "VersionId": each["VersionId"]}
        for kind in ("Versions", "DeleteMarkers")
        for each in page.get(kind, ())
    ]


def _disable(client: Any, uuid: str) -> bool:
    """Disable a mapping; return False if it is busy and must be asked again."""
    try:
        client.update_event_source_mapping(UUID=uuid, Enabled=False)
    except ClientError as error:
        code = error.response["Error"].get("Code")
        if code in ("ResourceInUseException", "ResourceConflictException"):
            return False
        if code != "ResourceNotFoundException":
            raise
    return True

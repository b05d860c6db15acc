"""Take event source mappings over from their poller, through the Lambda API alone."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.esm.poller.checkpoints import CheckpointFile

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

ACTIVE = ("Creating", "Enabling", "Enabled", "Updating")
LOOK_EVERY_SECONDS = 0.1


def checkpoint_file(folder: Path, uuid: str) -> CheckpointFile:
    """Return where the checkpoints of a mapping are kept in a folder."""
    return CheckpointFile(folder / f"{uuid}.json")


def take_over(
    client: "LambdaClient",
    folder: Path,
    *,
    patience: float = 120.0,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Disable the mappings of DynamoDB streams for their poller; return them to be run from here.

    A disabled mapping is returned only if it was taken over before, that is, if it has a checkpoint
    file in `folder`; otherwise a person disabled it. The file is written before the poller is asked
    to stop: a process that is killed in between takes over the next time.

    The call waits for the poller's batches under way (state "Disabling"). The poller's position is
    not known here: records that it has done are delivered again, from the starting position on.

    Raises:
        TimeoutError: a mapping was not disabled after `patience` seconds.
        ClientError: the Lambda API refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[dict[str, Any]] = []
    for mapping in _mappings(client):
        file = checkpoint_file(folder, mapping["UUID"])
        if mapping["State"] in ACTIVE and not file.exists():
            file.save({})
        if file.exists():
            taken.append(dict(mapping))
    deadline = clock() + patience
    asked: set[str] = set()
    while waiting := [mapping for mapping in taken if mapping["State"] != "Disabled"]:
        if clock() > deadline:
            states = ", ".join(f"{mapping['UUID']} is {mapping['State']}" for mapping in waiting)
            message = f"not disabled after {patience:.0f} seconds: {states}"
            raise TimeoutError(message)
        for mapping in waiting:
            uuid = mapping["UUID"]
            if uuid not in asked and _disable(client, uuid):
                asked.add(uuid)
            mapping["State"] = client.get_event_source_mapping(UUID=uuid)["State"]
        if any(mapping["State"] != "Disabled" for mapping in waiting):
            pause(LOOK_EVERY_SECONDS)
    return taken


def _mappings(client: "LambdaClient") -> list[Mapping[str, Any]]:
    pages = client.get_paginator("list_event_source_mappings").paginate()
    return [
        mapping
        for page in pages
        for mapping in page["EventSourceMappings"]
        if mapping.get("EventSourceArn", "").split(":")[2:3] == ["dynamodb"]
        and mapping["State"] != "Deleting"
    ]


def _disable(client: "LambdaClient", uuid: str) -> bool:
    """Ask for it; return False if the mapping is busy with an earlier update."""
    try:
        client.update_event_source_mapping(UUID=uuid, Enabled=False)
    except ClientError as error:
        if error.response["Error"].get("Code") == "ResourceInUseException":
            return False
        raise
    return True

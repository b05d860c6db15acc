"""Versions: a total order over all the changes of an item, as plain strings.

    version = "<epoch>/<stream label>/<sequence number, zero-padded to 40 digits>"

A version is a pure function of a stream record and one setting, so a redelivered record carries
the version that it carried before. Sequence numbers have 21 to 40 digits of varying width
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html):
they fit neither a 64-bit integer nor a DynamoDB number, and mean nothing compared unpadded. The
label orders a stream after the one that it replaced on the same table. The operator raises the
epoch when the sinks move to another lineage: a restored table, another Region.
"""

import re
from functools import lru_cache

from dynamodb_streams_cdc.errors import MalformedRecord, MalformedSource

SEQUENCE_DIGITS = 40
"""The most digits that a sequence number has (StreamRecord.SequenceNumber, length 21 to 40)."""

_EPOCH = re.compile(r"\d{4}", re.ASCII)
_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_LABEL = re.compile(rf"({_SECOND})(?:\.(\d{{1,9}}))?", re.ASCII)
_VERSION = re.compile(
    rf"{_EPOCH.pattern}/{_SECOND}\.\d{{3}}(?:\d{{0,5}}[1-9])?/\d{{{SEQUENCE_DIGITS}}}", re.ASCII
)


def check_epoch(epoch: str) -> str:
    """Return `epoch` if it is four digits such as `0001`.

    Raises:
        ValueError: it is not.
    """
    if not _EPOCH.fullmatch(epoch):
        message = f"an epoch is four digits such as 0001, got {epoch!r}"
        raise ValueError(message)
    return epoch


@lru_cache(maxsize=64)
def stream_label(stream_arn: str) -> str:
    """Return the label at the end of a stream's ARN, such as `2024-05-01T12:00:00.000`.

    A moment has one label: with three digits of a second, more (up to nine) only where they are
    not zero. AWS documents milliseconds and promises no width; labels that are compared as text
    must not differ by it.

    Raises:
        MalformedSource: the ARN does not end in `/stream/<label>`.
    """
    _, _, label = stream_arn.partition("/stream/")
    parts = _LABEL.fullmatch(label)
    if parts is None:
        message = (
            "eventSourceARN must end in /stream/<label> with a label such as "
            "2024-05-01T12:00:00.000 (UTC, no Z or offset)"
        )
        raise MalformedSource(message, "eventSourceARN")
    second, fraction = parts.groups(default="")
    return f"{second}.{fraction.rstrip('0').ljust(3, '0')}"


def version_of(epoch: str, label: str, sequence_number: str) -> str:
    """Return the version of the change with that sequence number.

    Raises:
        MalformedRecord: the sequence number is not 1 to 40 decimal digits.
    """
    number = sequence_number
    if not (number.isascii() and number.isdecimal() and len(number) <= SEQUENCE_DIGITS):
        message = f"SequenceNumber must be 1 to {SEQUENCE_DIGITS} decimal digits"
        raise MalformedRecord(message)
    return f"{epoch}/{label}/{number.zfill(SEQUENCE_DIGITS)}"


def floor_of(epoch: str, label: str) -> str:
    """Return the version below every change of a stream, and above all of the one before it.

    A fill writes with it: whatever this stream says wins over the fill, and the fill wins over
    what an earlier stream left behind.
    """
    return version_of(epoch, label, "0")


def check_version(version: str) -> str:
    """Return `version` if it has the form that `version_of` gives.

    Raises:
        MalformedRecord: it has not.
    """
    if not _VERSION.fullmatch(version):
        message = (
            f"a version is <epoch>/<stream label>/<{SEQUENCE_DIGITS} digits> such as "
            f"0001/2024-05-01T12:00:00.000/{'1'.zfill(SEQUENCE_DIGITS)}"
        )
        raise MalformedRecord(message)
    return version

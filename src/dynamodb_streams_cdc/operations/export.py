"""An export of a DynamoDB table in S3, read in parts.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html

    s3://BUCKET/PREFIX/AWSDynamoDB/ID/manifest-summary.json   about the export
                                     manifest-files.json     its data files, one JSON object a line
                                     data/NAME.json.gz       items, one JSON object a line
"""

import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Any
from urllib.parse import urlsplit

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.errors import form_of
from dynamodb_streams_cdc.identity import stream_label
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.json_text import json_object
from dynamodb_streams_cdc.operations.manifest import DeployedProcessor
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS

SUMMARY, FILES = "manifest-summary.json", "manifest-files.json"

MOST_BYTES = 4_000_000
"""Bytes of the items of one request; Lambda takes 6 MB
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

MOST_ITEMS = 500

KEPT = timedelta(hours=24)
"""How long a stream keeps a change
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html)."""

FIRST_READ = timedelta(hours=1)
"""Time that a new mapping has to read the oldest changes, before the stream forgets them."""


@dataclass(frozen=True)
class DataFile:
    """A file of an export, and how many items it has."""

    key: str
    items: int


@dataclass
class Export:
    """A full export in DynamoDB JSON.

    Attributes:
        client: of S3.
        bucket: that it is in.
        summary: what manifest-summary.json says.
        files: its data files.
    """

    client: Any
    bucket: str
    summary: dict[str, Any]
    files: tuple[DataFile, ...] = ()

    @classmethod
    def find(cls, client: Any, url: str) -> "Export":
        """Return the export at `s3://BUCKET/PREFIX`, the folder with its manifest.

        Raises:
            UsageError: the address has another form.
            OperationError: there is no export, or not all of it, or one of another kind.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        folder = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or not folder:
            message = f"--export: expected s3://BUCKET/PREFIX/AWSDynamoDB/ID, got {url}"
            raise UsageError(message)
        export = cls(client, parts.netloc, {})
        export.summary = export._summary(f"{folder}/{SUMMARY}", url)
        export.files = tuple(export._listed(f"{folder}/{FILES}"))
        total = sum(each.items for each in export.files)
        if total != export.summary["itemCount"]:
            message = (
                f"The export {url} lists {total:,} items in its files and has "
                f"{export.summary['itemCount']:,}: it is not complete; export again."
            )
            raise OperationError(message)
        return export

    def _summary(self, key: str, url: str) -> dict[str, Any]:
        """Return what manifest-summary.json says, the number of items as a number.

        Raises:
            OperationError: it is damaged, or of an export of another kind.
        """
        where = f"s3://{self.bucket}/{key}"
        summary = _object(self._text(key), where)
        kind = summary.get("exportType", "FULL_EXPORT")
        if kind != "FULL_EXPORT" or summary.get("outputFormat") != "DYNAMODB_JSON":
            message = (
                f"The export {url} is {kind} in {summary.get('outputFormat')}: make a full export "
                "in DYNAMODB_JSON."
            )
            raise OperationError(message)
        _text_in(summary, "tableArn", where)
        exported = _text_in(summary, "exportTime", where)
        try:
            has_zone = datetime.fromisoformat(exported).tzinfo is not None
        except ValueError:
            has_zone = False
        if not has_zone:
            raise _damaged(where, "exportTime is not a time with its zone")
        return {**summary, "itemCount": _count_in(summary, where)}

    def _listed(self, key: str) -> Iterator[DataFile]:
        """Yield the data files that manifest-files.json lists.

        Raises:
            OperationError: it is damaged.
        """
        # A name may have U+2028, which JSON does not escape: only this character ends a line.
        for number, line in enumerate(self._text(key).split("\n"), 1):
            if line.strip():
                where = f"s3://{self.bucket}/{key}, line {number},"
                found = _object(line, where)
                yield DataFile(_text_in(found, "dataFileS3Key", where), _count_in(found, where))

    @property
    def items(self) -> int:
        """Number of items."""
        return sum(each.items for each in self.files)

    @property
    def time(self) -> datetime:
        """The moment that the items are of."""
        return datetime.fromisoformat(self.summary["exportTime"])

    def check(self, table: str, stream_arn: str, now: datetime) -> None:
        """Check that a backfill from it ends right; the functions check its age again.

        Raises:
            OperationError: it is of another table, was made before the stream was on, or is older
                than the tombstones that refuse what was deleted since.
        """
        exported, wanted = self.summary["tableArn"], stream_arn.partition("/stream/")[0]
        if exported != wanted:
            message = f"The export is of {exported}, and the source table {table} is {wanted}."
            raise OperationError(message)
        on_since = datetime.fromisoformat(stream_label(stream_arn)).replace(tzinfo=UTC)
        if self.time < on_since:
            message = (
                f"The export is of {self.time:%Y-%m-%d %H:%M:%S}Z, and the stream is on since "
                f"{on_since:%Y-%m-%d %H:%M:%S}Z: changes in between are in neither. Export again."
            )
            raise OperationError(message)
        if now - self.time > timedelta(seconds=LATE_SECONDS):
            message = (
                f"The export is of {self.time:%Y-%m-%d %H:%M:%S}Z, more than "
                f"{LATE_SECONDS // 3600} hours ago: sinks may have forgotten what was deleted "
                "since. Export again, or backfill from the table."
            )
            raise OperationError(message)

    def check_mappings(
        self, client: Any, processors: Iterable[DeployedProcessor], now: datetime
    ) -> None:
        """Check that processors have read every change since it was made.

        A mapping tells when it was last changed, which is never before it was made. After a change
        this may refuse an export that has all it needs; another one takes the changes of less than
        a day.

        Args:
            client: boto3 Lambda client.
            processors: whose copies are filled, or whose change log they follow.
            now: the time.

        Raises:
            OperationError: changes may be neither in the export nor read by a processor.
            AccessDenied: the credentials may not read a mapping.
        """
        for each in processors:
            if not each.mapping:
                message = (
                    f"The manifest names no event source mapping of {each.name}, so it is not "
                    "known which changes since the export it has read: add its UUID, or backfill "
                    "from the table."
                )
                raise OperationError(message)
            with permitted("lambda:GetEventSourceMapping", f"event source mapping {each.mapping}"):
                found = client.get_event_source_mapping(UUID=each.mapping)
            # botocore gives it in the zone of this machine.
            state, changed = found["State"], found["LastModified"].astimezone(UTC)
            was = f"was made or changed at {changed:%Y-%m-%d %H:%M:%S}Z"
            if state != "Enabled":
                changed, was = now, f"is {state}"
            kept = timedelta() if found.get("StartingPosition") == "LATEST" else KEPT
            since = changed - kept + FIRST_READ
            if self.time < since:
                message = (
                    f"The export is of {self.time:%Y-%m-%d %H:%M:%S}Z, and the event source "
                    f"mapping of {each.name} {was}: it has read the changes since "
                    f"{since:%Y-%m-%d %H:%M:%S}Z, and those in between may be in neither. Make a "
                    "new export, or backfill from the table."
                )
                raise OperationError(message)

    def reader(self, file: DataFile) -> "FileReader":
        """Return a reader of a file's items, for one part of a walk."""
        return FileReader(self, file)

    def lines(self, file: DataFile) -> Iterator[str]:
        """Yield the lines of a file, from a copy on this machine's disk.

        Raises:
            OperationError: the file is gone or damaged, or does not fit on the disk.
            RetryableError: it cannot be read at the moment.
        """
        where = f"s3://{self.bucket}/{file.key}"
        with tempfile.TemporaryFile() as copy:
            self._download(file.key, copy)
            copy.seek(0)
            content: Any = gzip.GzipFile(fileobj=copy) if file.key.endswith(".gz") else copy
            # A text may have U+2028, which JSON does not escape: only this character ends a line.
            text = iter(io.TextIOWrapper(content, encoding="utf-8", newline="\n"))
            while True:
                with _undamaged(where):
                    line = next(text, None)
                if line is None:
                    return
                if line != "\n":
                    yield line

    def _download(self, key: str, copy: IO[bytes]) -> None:
        try:
            shutil.copyfileobj(self._body(key), copy)
        except OSError as error:
            message = f"s3://{self.bucket}/{key} does not fit into {tempfile.gettempdir()}: {error}"
            raise OperationError(message) from error

    def _body(self, key: str) -> Any:
        where = f"s3://{self.bucket}/{key}"
        try:
            with permitted("s3:GetObject", where), translated():
                return _Body(self.client.get_object(Bucket=self.bucket, Key=key)["Body"])
        except self.client.exceptions.NoSuchKey as error:
            message = f"{where} is not there: the export is elsewhere, or not complete."
            raise OperationError(message) from error

    def _text(self, key: str) -> str:
        with _undamaged(f"s3://{self.bucket}/{key}"):
            text: str = self._body(key).read().decode()
            return text


@dataclass
class FileReader:
    """Reads the items of one file in their order.

    The file is fetched once, however many requests its items take: again only by a run that goes
    on, and for the last items of a file that a function does not take at the first attempt. Of what
    was read it may be asked for fewer items then.
    """

    export: Export
    file: DataFile
    _lines: Iterator[str] = field(default_factory=lambda: iter(()), repr=False)
    _at: int = field(default=-1, repr=False)
    _held: str | None = field(default=None, repr=False)
    """A line that was read, and did not fit into the last request."""
    _last: tuple[int, list[Any], int | None] = field(default=(-1, [], None), repr=False)

    def records(self, place: Any, limit: int) -> tuple[list[Any], int | None]:
        """Return the next items of the file from a line on, and the line behind them.

        Raises:
            OperationError: the file is gone or damaged.
            RetryableError: it cannot be read at the moment.
        """
        begin = int(place or 0)
        last, records, following = self._last
        if last <= begin < last + len(records):
            end = begin - last + limit
            some = records[begin - last : end]
            return some, following if end >= len(records) else last + end
        if self._at != begin:
            self._lines, self._held = self.export.lines(self.file), None
            for _ in range(begin):
                next(self._lines, None)
        held, self._held = self._held, None
        self._at, self._last = -1, (-1, [], None)
        records, size = [], 0
        while (line := held or next(self._lines, None)) is not None:
            held = None
            size += len(line.encode())
            if len(records) == min(limit, MOST_ITEMS) or (records and size > MOST_BYTES):
                self._held = line
                self._at = begin + len(records)
                self._last = (begin, records, self._at)
                return records, self._at
            records.append({"Item": self._item(line)})
        if begin + len(records) != self.file.items:
            message = (
                f"{self._where} has {begin + len(records):,} items, and the export lists "
                f"{self.file.items:,}: export again."
            )
            raise OperationError(message)
        return records, None

    @property
    def _where(self) -> str:
        return f"s3://{self.export.bucket}/{self.file.key}"

    def _item(self, line: str) -> Any:
        try:
            item = json.loads(line)["Item"]
        except (ValueError, LookupError, TypeError, RecursionError):
            item = None
        if not isinstance(item, dict):
            message = f"{self._where} has a line without an item: export again."
            raise OperationError(message)
        return item


@dataclass(frozen=True)
class _Body:
    """The body of an object; errors of the network are `RetryableError`."""

    body: Any

    def read(self, size: int | None = None) -> bytes:
        with translated():
            content: bytes = self.body.read(size)
            return content


@contextmanager
def _undamaged(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, ValueError) as error:
        message = f"{where} cannot be read ({error}): export again."
        raise OperationError(message) from error


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        return json_object(text)
    except ValueError as error:
        raise _damaged(where, str(error)) from error


def _text_in(document: dict[str, Any], name: str, where: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise _damaged(where, f"{name}: expected text, got {form_of(value)}")
    return value


def _count_in(document: dict[str, Any], where: str) -> int:
    """Return `itemCount`, which DynamoDB writes as a number."""
    value = document.get("itemCount")
    if type(value) is not int or value < 0:
        raise _damaged(where, f"itemCount: expected a number of items, got {form_of(value)}")
    return value


def _damaged(where: str, fault: str) -> OperationError:
    return OperationError(f"{where} is not of a whole export ({fault}): export again.")

"""Reads real purchases from a file in the format of the CDNOW data set.

Each line is checked as it is read: one that is not a purchase raises an error that names the file,
the line and the expected format.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

from dynamodb_streams_cdc.testing.stories import StoriesError

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "cdnow-sample.txt.gz"
_GZIP_MAGIC = b"\x1f\x8b"
_LAYOUTS = {
    4: "customer id, date, number of CDs, value",
    5: "master customer id, sample customer id, date, number of CDs, value",
}


class PurchasesError(StoriesError):
    """The file cannot be read as purchases; the message is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase: the `number`-th of its customer, in the order of the file."""

    customer: str
    number: int
    day: date
    units: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class Survey:
    """Totals of a file, or of its first `limit` purchases."""

    purchases: int
    customers: int
    total: Decimal
    first: date
    last: date


def read_purchases(path: Path, limit: int | None = None) -> Iterator[Purchase]:
    """Yield the purchases of a plain or gzipped file, at most `limit`; raise PurchasesError."""
    return islice(_purchases(path), limit)


def survey(path: Path, limit: int | None = None) -> Survey:
    """Read the file once, so that a malformed line is found before a service starts."""
    count, total = 0, Decimal(0)
    customers = set()
    first, last = date.max, date.min
    for purchase in read_purchases(path, limit):
        count += 1
        total += purchase.value
        customers.add(purchase.customer)
        first, last = min(first, purchase.day), max(last, purchase.day)
    if not count:
        msg = f"{path} holds no purchases; expected lines of {_LAYOUTS[4]} (or {_LAYOUTS[5]})."
        raise PurchasesError(msg)
    return Survey(count, len(customers), total, first, last)


def _purchases(path: Path) -> Iterator[Purchase]:
    seen: Counter[str] = Counter()
    columns = 0
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if not fields or (number == 1 and fields[0] == "customer_id"):
            continue
        columns = columns or len(fields)
        if len(fields) != columns or columns not in _LAYOUTS:
            expected = _LAYOUTS.get(columns, f"{_LAYOUTS[4]} (or {_LAYOUTS[5]})")
            _reject(path, number, line, f"expected {expected}")
        customer, *_, day, units, value = fields
        seen[customer] += 1
        yield Purchase(
            customer=_digits(path, number, customer, "the customer id in digits"),
            number=seen[customer],
            day=_day(path, number, day),
            units=_units(path, number, units),
            value=_dollars(path, number, value),
        )


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
            for raw in stream:
                # Undecodable bytes appear escaped in the error about their line.
                yield raw.decode("ascii", errors="backslashreplace")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path} is damaged: {error}."
        raise PurchasesError(msg) from error
    except OSError as error:
        msg = f"Cannot read {path}: {error.strerror or error}."
        raise PurchasesError(msg) from error


def _digits(path: Path, number: int, text: str, expected: str) -> str:
    if not (text.isascii() and text.isdigit()):
        _reject(path, number, text, f"expected {expected}")
    return text


def _day(path: Path, number: int, text: str) -> date:
    expected = "the date as YYYYMMDD"
    try:
        # strptime alone takes 1997011 for January 1st.
        if len(_digits(path, number, text, expected)) != len("YYYYMMDD"):
            _reject(path, number, text, f"expected {expected}")
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        _reject(path, number, text, f"expected {expected}")


def _units(path: Path, number: int, text: str) -> int:
    expected = "the number of CDs, 1 to 9999"
    units = int(_digits(path, number, text[:5], expected))
    if not 1 <= units <= 9999:
        _reject(path, number, text, f"expected {expected}")
    return units


def _dollars(path: Path, number: int, text: str) -> Decimal:
    whole, point, cents = text.partition(".")
    well_formed = (whole + cents).isdigit() and text.isascii() and len(text) <= 12
    if not well_formed or len(cents) > 2 or bool(point) != bool(cents) or not whole:
        _reject(path, number, text, "expected the value in dollars with at most 2 decimals")
    return Decimal(text).quantize(Decimal("0.01"))


def _reject(path: Path, number: int, found: str, expected: str) -> NoReturn:
    shown = found.strip()
    shown = f"{shown[:57]}..." if len(shown) > 60 else shown
    msg = f'{path}, line {number}: {expected}; found "{shown}".'
    raise PurchasesError(msg)

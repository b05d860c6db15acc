"""Repair exactly the differences that a verification found.

    report = RepairDifferences(deployment.functions, source.stream_arn, processors).run(differences)

Copies of items are repaired from the table, in order with live changes. Copies that are none of an
item are deleted, unless they changed meanwhile. A sum that is off, and an item without a ledger row
that sums may count all the same, need `cdc rebuild aggregation`. A gap in the log needs a redrive.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import NoneType
from typing import Any

from dynamodb_streams_cdc.control.functions import (
    Functions,
    InvocationFailed,
    is_healthy,
    not_understood,
    parse_repair_response,
)
from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT
from dynamodb_streams_cdc.errors import form_of
from dynamodb_streams_cdc.guards.halves import in_halves
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.json_text import json_object
from dynamodb_streams_cdc.operations.notes import end_fill
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from dynamodb_streams_cdc.operations.repair import AT_ONCE
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.sinks.comparison import DifferenceKind

FILL_NAME = "repair"
"""Name of the fill that purges wait for while entries of kind BACKFILL are written."""

COMPARE = "verify all of the table, without --share, --entity or a key"
REBUILD = "cdc rebuild aggregation makes new sums and rows next to the live ones"
CORRECT = "correct the item in the table, its entity, or the domain's function that fails on it"
AGAIN = "run it again, which is safe"
REDRIVE = (
    "the log cannot be rewritten: redrive dead letters (cdc redrive); what is in none is lost to it"
)


def plan_of(difference: Mapping[str, Any], sink: str) -> tuple[str | None, str]:
    """Return how a difference of such a sink is repaired; None, and what to do, if it is not."""
    kind = difference["kind"]
    if kind == DifferenceKind.REFUSED:
        return None, CORRECT
    if sink == AUDIT:
        begins = kind == DifferenceKind.MISSING and difference["version"] is None
        return ("backfill", "") if begins else (None, REDRIVE)
    is_of_no_item = difference["keys"] is None
    if kind == DifferenceKind.SUM or (is_of_no_item and sink == AGGREGATION):
        return None, REBUILD
    if is_of_no_item:
        return "remove", ""
    if sink != AGGREGATION:
        return "repair", ""
    if "delta" not in difference or difference["sums_agree"]:  # without one, no sum moves
        return "count", ""
    if difference["sums_agree"] is None:
        return None, f"its sums were not compared: {COMPARE}"
    return None, f"its sums may count it already, as they are not what the ledger has: {REBUILD}"


@dataclass(frozen=True)
class Unrepaired:
    """A difference that stays, and why."""

    sink: str
    kind: str
    item: str
    why: str


@dataclass
class DifferencesReport(Report):
    """Result of a repair.

    Attributes:
        verification_complete: whether the verification that found them compared everything.
        differences: differences that were to be repaired.
        repaired: copies repaired or deleted, by sink.
        moved: copies that had changed meanwhile, and were left to their changes, by sink.
        unrepaired: differences that stay.
    """

    verification_complete: bool = True
    differences: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    unrepaired: list[Unrepaired] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return self.ended and self.verification_complete and not self.unrepaired


@dataclass
class RepairDifferences:
    """The repair of differences.

    Attributes:
        functions: the deployed functions.
        stream_arn: the table's current stream.
        keys: types of the table's key attributes, by name.
        sinks: kinds of the sinks, by processor.
        progress: called with the number of differences that are done.
    """

    functions: Functions
    stream_arn: str
    keys: Mapping[str, str]
    sinks: Mapping[str, str]
    progress: Callable[[int], None] = lambda done: None
    report: DifferencesReport = field(default_factory=DifferencesReport)
    _filled: set[str] = field(default_factory=set, init=False)
    _fruitless: Counter[str] = field(default_factory=Counter, init=False)
    """Requests in a row that repaired nothing because of an outage, by sink."""

    def run(self, differences: Iterable[Mapping[str, Any]]) -> DifferencesReport:
        """Repair differences, `AT_ONCE` with each request."""
        left = iter(differences)
        while chunk := list(islice(left, 10 * AT_ONCE)):
            groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
            for each in chunk:
                how = self._how(each)
                if how is not None:
                    groups.setdefault((each["sink"], how), []).append(each)
            for (sink, how), group in groups.items():
                for start in range(0, len(group), AT_ONCE):
                    self._repair(sink, how, group[start : start + AT_ONCE])
            self.report.differences += len(chunk)
            self.progress(self.report.differences)
        if self._filled:
            end_fill(self.functions, sorted(self._filled), FILL_NAME)
        return self.report

    def _how(self, difference: Mapping[str, Any]) -> str | None:
        """Return how a difference is repaired; None, and a line in the report, if it is not."""
        how, why = plan_of(difference, self.sinks[difference["sink"]])
        if how is None:
            is_refused = difference["kind"] == DifferenceKind.REFUSED
            self._leave(difference, f"{difference['detail']}: {why}" if is_refused else why)
        return how

    def _leave(self, difference: Mapping[str, Any], why: str) -> None:
        self.report.unrepaired.append(
            Unrepaired(difference["sink"], difference["kind"], difference["item"], why)
        )

    def _repair(self, sink: str, how: str, part: Sequence[Mapping[str, Any]]) -> None:
        """Repair differences, and ever fewer at one time if the function dies of them.

        A sink is left alone after `PATIENCE` requests in a row without an effect.
        """
        if self._fruitless[sink] == PATIENCE:
            for each in part:
                self._leave(each, f"not tried: {PATIENCE} requests in a row had no effect: {AGAIN}")
            return

        def ask(some: Sequence[Mapping[str, Any]]) -> bool:
            if how == "remove":
                return self._remove(sink, some)
            if how == "backfill":
                return self._backfill(sink, some)
            return self._from_table(sink, some, counts=how == "count")

        def failed(some: Sequence[Mapping[str, Any]], error: Exception) -> bool | None:
            assert isinstance(error, InvocationFailed)
            if len(some) > 1 and not error.outage and is_healthy(self.functions, sink):
                return None
            for each in some:
                self._leave(each, f"{error.reason}: {error}")
            return False

        has_effect = any(in_halves(ask, part, failed, InvocationFailed))
        self._fruitless[sink] = 0 if has_effect else self._fruitless[sink] + 1

    def _from_table(self, sink: str, part: Sequence[Mapping[str, Any]], *, counts: bool) -> bool:
        """Repair copies from the table; return whether the sink was there."""
        event = {
            "operation": Operation.REPAIR,
            "streamArn": self.stream_arn,
            "countMissing": counts,
            "Records": [{"Keys": each["keys"]} for each in part],
        }
        answer = self.functions.invoke(sink, event)
        result = parse_repair_response(sink, answer, range(len(part)))
        if not result.repairable:
            for each in part:
                self._leave(each, f"{sink} keeps no copies that a repair from the table can fix")
            return True
        self.report.repaired[sink] += result.repaired
        # What did not differ any more was repaired by its own change.
        self.report.moved[sink] += len(part) - result.repaired - len(result.failures)
        for failure in result.failures:
            self._leave(part[failure.position], f"{failure.reason}: {failure.error}")
        return sum(each.retryable for each in result.failures) < len(part)

    def _remove(self, sink: str, part: Sequence[Mapping[str, Any]]) -> bool:
        """Delete copies that are none of an item; return True: the sink was there."""
        records = [{name: each[name] for name in ("item", "store", "token")} for each in part]
        answer = self.functions.invoke(sink, {"operation": Operation.REMOVE, "Records": records})
        if not isinstance(answer, Mapping) or not isinstance(answer.get("removed"), int):
            raise not_understood(sink, Operation.REMOVE, answer)
        self.report.repaired[sink] += answer["removed"]
        self.report.moved[sink] += len(part) - answer["removed"]
        return True

    def _backfill(self, sink: str, part: Sequence[Mapping[str, Any]]) -> bool:
        """Begin histories; return whether the log took any, or was there."""
        event = {
            "operation": Operation.BACKFILL,
            "fill": FILL_NAME,
            "streamArn": self.stream_arn,
            "keys": dict(self.keys),
            "Records": [{"Keys": each["keys"]} for each in part],
        }
        self._filled.add(sink)
        answer = self.functions.invoke(sink, event)
        try:
            applied, failures = answer["applied"], answer["failures"]
            problem = answer["problem"] or ("" if answer["done"] else "not done to the end")
            refused = {each["item"]: f"{each['reason']}: {each['error']}" for each in failures}
        except (LookupError, TypeError):
            raise not_understood(sink, Operation.BACKFILL, answer) from None
        left = [each for each in part if problem or each["item"] in refused]
        for each in left:
            self._leave(each, refused.get(each["item"], f"{problem}: {AGAIN}"))
        self.report.repaired[sink] += applied
        # After a problem some may be written that count as left: a repeat finds them as new.
        self.report.moved[sink] += max(0, len(part) - applied - len(left))
        return bool(applied or not problem)


@dataclass(frozen=True)
class FoundDifferences:
    """The differences in a report of `cdc verify`, and whether it compared everything."""

    differences: Sequence[dict[str, Any]]
    complete: bool


def read_differences(
    text: str, where: str, sinks: Iterable[str], stack: str, stream_arn: str
) -> FoundDifferences:
    """Return the differences in the JSON of `cdc verify`.

    Stacks and tables of the same name may be in several Regions and accounts: `stream_arn`, of the
    table's current stream, tells them apart. A report from before reports had it is refused.

    Raises:
        UsageError: it is something else, lacks what a repair needs, or is of another pipeline.
    """
    known = set(sinks)
    try:
        report = json_object(text)
    except ValueError as error:
        raise _not_a_report(where, str(error)) from error
    differences = report.get("differences")
    if not isinstance(differences, list):
        raise _not_a_report(where, f"differences: expected a list, got {form_of(differences)}")
    if not isinstance(report.get("stack"), str):
        raise _not_a_report(where, f"stack: expected text, got {form_of(report.get('stack'))}")
    if report["stack"] != stack:
        message = (
            f"{where} is about the stack {report['stack']}, and this is {stack}: choose the "
            "environment that it was written for."
        )
        raise UsageError(message)
    if not isinstance(report.get("stream"), str):
        message = (
            f"{where} does not say which table it is about, as reports of earlier versions do not: "
            "verify again, with cdc verify --json."
        )
        raise UsageError(message)
    if report["stream"] != stream_arn:
        message = (
            f"{where} is about the stream {report['stream']}, and the source table has "
            f"{stream_arn}: choose the environment, Region and account that it was written for, or "
            "verify again if the stream was replaced."
        )
        raise UsageError(message)
    complete = report.get("complete")
    if not isinstance(complete, bool):
        raise _not_a_report(where, f"complete: expected true or false, got {form_of(complete)}")
    for number, each in enumerate(differences, 1):
        if fault := _fault_of(each):
            raise _not_a_report(where, f"difference {number}: {fault}")
        if each["sink"] not in known:
            message = (
                f"{where} is about the sink {each['sink']!r}, and this pipeline has "
                f"{', '.join(sorted(known))}: choose the environment that it was written for."
            )
            raise UsageError(message)
    return FoundDifferences(differences, complete)


_FIELDS: Mapping[str, tuple[type, ...]] = {
    "sink": (str,),
    "kind": (str,),
    "item": (str,),
    "keys": (dict, NoneType),
    "store": (int,),
    "token": (str,),
    "version": (str, NoneType),
    "detail": (str,),
}


def _fault_of(difference: object) -> str:
    """Return what is wrong with a difference of a report; empty if nothing is."""
    if not isinstance(difference, dict):
        return f"expected an object, got {form_of(difference)}"
    for name, kinds in _FIELDS.items():
        if name not in difference:
            return f"it has no {name}"
        if not isinstance(difference[name], kinds):
            return f"{name}: got {form_of(difference[name])}"
    if difference["kind"] not in tuple(DifferenceKind):
        return f"kind: expected one of {', '.join(DifferenceKind)}"
    if "delta" in difference and difference.get("sums_agree", "") not in (True, False, None):
        return "it has a delta, and sums_agree is not true, false or null"
    return ""


def _not_a_report(where: str, fault: str) -> UsageError:
    return UsageError(
        f"{where} is not a report of cdc verify ({fault}): write one with cdc verify --json."
    )

"""The data of a picture: writes, shards, invocations, dead letters and lines, in plain values.

Times are seconds since the start. A record is named by its sequence number.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dynamodb_streams_cdc.esm import Result
from dynamodb_streams_cdc.testing.simulation import Simulation
from dynamodb_streams_cdc.testing.simulation.events import (
    Answered,
    AnswerIgnored,
    Failed,
    GivenUp,
    Lost,
    Throttled,
    change_of,
    key_text,
    shown,
)
from dynamodb_streams_cdc.testing.simulation.stream import Shard, SimulatedStream
from dynamodb_streams_cdc.testing.simulation.timeline import Entry
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START
from playground.lab.recorder import Call, Recorder

MOST_LINES = 3_000
"""Lines of a timeline that are shown."""

FAULT = "FAULT: "

DONE, FAILED, LEFT, KILLED, IGNORED = "done", "failed", "left", "killed", "ignored"
"""Outcomes of a record in an invocation; `left` is for the next attempt."""


def of(simulation: Simulation, recorder: Recorder, problems: Sequence[str]) -> dict[str, Any]:
    """Return the picture of a run that is over."""
    pollers = [
        (recorder.name_of(actor), poller) for actor in simulation.actors for poller in actor.pollers
    ]
    streams = list(simulation.table.streams)
    streams += [poller.stream for _, poller in pollers if poller.stream not in streams]
    places = {
        record["dynamodb"]["SequenceNumber"]: shard.shard_id
        for stream in streams
        for shard in _shards(stream)
        for record in [*shard.gone, *shard.records]
    }
    written = {sequence: at for _, at, sequence in recorder.written}
    calls = [_call(call, number, written) for number, call in enumerate(recorder.calls)]
    _link(calls)
    return {
        "ends": _seconds(simulation.virtual_clock.now()),
        "lines": [_line(entry) for entry in recorder.entries[:MOST_LINES]],
        "quiet": simulation.quiet_from,
        "unpoisoned": list(_unpoisoned(simulation)),
        "lines_left_out": max(0, len(recorder.entries) - MOST_LINES),
        "writes": list(_writes(recorder, simulation)),
        "shards": [
            _shard(stream, shard, places) for stream in streams for shard in _shards(stream)
        ],
        "calls": calls,
        "calls_left_out": recorder.uncalled,
        "throttles": list(_marks(recorder.entries, Throttled)),
        "given_up": list(_marks(recorder.entries, GivenUp)),
        "lost": list(_marks(recorder.entries, Lost)),
        "faults": list(_faults(recorder.entries)),
        "checkpoints": [
            {"at": _seconds(at), "who": who, "shard": shard, "place": place}
            for who, poller in pollers
            for at, shard, place in poller.checkpoints
        ],
        "states": [{"entry": state.entry, **state.value} for state in recorder.states],
        "problems": list(problems),
        "outcome": outcome(simulation, recorder, problems),
        "documents": [
            dict(each.document) for _, poller in pollers for each in poller.dead_letters[:50]
        ],
    }


def _unpoisoned(simulation: Simulation) -> Iterator[str]:
    """Yield the items that were written again at the end, without their poison."""
    if simulation.quiet_from is None:
        return
    for key, item in simulation.table.items.items():
        if key in simulation.sound:
            yield "/".join(str(item[name]) for name in simulation.table.keys)


def outcome(simulation: Simulation, recorder: Recorder, problems: Sequence[str]) -> dict[str, Any]:
    """Return the deliveries, dead letters, losses and problems of a run, as a test states them."""
    found: dict[str, Any] = {"problems": list(problems)}
    for actor in simulation.actors:
        found[recorder.name_of(actor)] = {
            "delivered": [each.changes for p in actor.pollers for each in p.deliveries],
            "dead_letters": [each.changes for p in actor.pollers for each in p.dead_letters],
            "lost": [change_of(record) for p in actor.pollers for record in p.lost],
        }
    return found


def _seconds(at: float) -> float:
    return round(at - START, 6)


def _shards(stream: SimulatedStream) -> list[Shard]:
    return [*stream.closed.values(), *stream.shards.values()]


def _shard(stream: SimulatedStream, shard: Shard, places: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": shard.shard_id,
        "parent": shard.parent,
        "stream": stream.label,
        "open": shard.ends is None,
        "records": sum(1 for place in places.values() if place == shard.shard_id),
    }


def _line(entry: Entry) -> dict[str, Any]:
    return {"at": _seconds(entry.at), "who": entry.who, "text": str(entry), "kind": _kind(entry)}


def _kind(entry: Entry) -> str:
    text = str(entry.event)
    return "Fault" if text.startswith(FAULT) else type(entry.event).__name__


def _writes(recorder: Recorder, simulation: Simulation) -> Iterator[dict[str, Any]]:
    records = {
        record["dynamodb"]["SequenceNumber"]: record
        for stream in simulation.table.streams
        for shard in _shards(stream)
        for record in [*shard.gone, *shard.records]
    }
    for entry, at, number in recorder.written:
        record = records[number]
        yield {
            "at": _seconds(at),
            "entry": entry,
            "sequence": number,
            "change": change_of(record),
            "key": key_text(record["dynamodb"]["Keys"]),
            "expired": "userIdentity" in record,
            "record": record,
        }


def _marks(
    entries: Sequence[Entry], kind: type[Throttled | GivenUp | Lost]
) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries):
        if isinstance(entry.event, kind):
            records = entry.event.records
            yield {
                "at": _seconds(entry.at),
                "entry": number,
                "who": entry.who,
                "sequences": [record["dynamodb"]["SequenceNumber"] for record in records],
                "changes": [change_of(record) for record in records],
                "text": str(entry.event),
            }


def _faults(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries):
        text = str(entry.event)
        if text.startswith(FAULT):
            yield {
                "at": _seconds(entry.at),
                "entry": number,
                "who": entry.who,
                "kind": text.removeprefix(FAULT).removesuffix(", at the next chance"),
            }


def _call(call: Call, number: int, written: Mapping[str, float]) -> dict[str, Any]:
    delivery = (
        call.poller.deliveries[call.delivery]
        if call.poller is not None and call.delivery is not None
        else None
    )
    records = call.event.get("Records", [])
    return {
        "id": number,
        "who": call.who,
        "at": _seconds(call.begins),
        "until": _seconds(call.ends),
        "first": max(0, call.entry - 1),
        "last": call.last,
        "shard": delivery.shard_id if delivery else None,
        "lane": delivery.lane if delivery else None,
        "attempt": delivery.attempt if delivery else None,
        "records": [
            {
                "sequence": record["dynamodb"]["SequenceNumber"],
                "change": change_of(record),
                "outcome": result,
            }
            for record, result in zip(records, _outcomes(call), strict=True)
        ],
        "outcome": _outcome(call),
        "text": _text(call),
        "request": call.event,
        "answer": None if call.error else shown(call.answer),
        "error": repr(call.error) if call.error else None,
        "age": _age(call, written),
        "operation": call.event.get("operation"),
        "retry_of": None,
    }


def _outcome(call: Call) -> str:
    if call.error is not None and not isinstance(call.error, Exception):
        return KILLED
    if call.error is not None:
        return FAILED
    match call.end:
        case Answered(result=Result.PARTIAL):
            return LEFT
        case Answered(result=Result.REJECTED | Result.ERROR):
            return FAILED
        case AnswerIgnored():
            return IGNORED
        case None if _reported(call.answer):
            return FAILED  # nothing retries what an operator or an old poller invoked
    return DONE


def _reported(answer: Any) -> list[Any]:
    """Return the failures of an answer that no mapping judges."""
    found = answer.get("batchItemFailures") if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def _outcomes(call: Call) -> list[str]:
    records = call.event.get("Records", [])
    result = _outcome(call)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    if call.end is None and (failures := _reported(call.answer)):
        names = [each.get("itemIdentifier") for each in failures if isinstance(each, Mapping)]
        first = min((numbers.index(name) for name in names if name in numbers), default=0)
        return [DONE] * first + [FAILED] * (len(records) - first)
    if result != LEFT or not isinstance(call.end, Answered) or call.end.first_failed is None:
        return [result] * len(records)
    first = numbers.index(call.end.first_failed["dynamodb"]["SequenceNumber"])
    return [DONE] * first + [LEFT] * (len(records) - first)


def _text(call: Call) -> str:
    if call.end is not None:
        return str(call.end)
    if call.error is not None:
        return str(Failed(call.error, retried=False))
    return f"returned {shown(call.answer)}, which nothing retries"


def _age(call: Call, written: Mapping[str, float]) -> float | None:
    """Return the age of the last record when the function is invoked, in seconds."""
    numbers = [record["dynamodb"]["SequenceNumber"] for record in call.event.get("Records", [])]
    times = [written[number] for number in numbers if number in written]
    return round(max(0.0, call.begins - max(times)), 3) if times else None


def _link(calls: list[dict[str, Any]]) -> None:
    """Link each invocation to the last one of the same function that had one of its records."""
    seen: dict[tuple[str, str], int] = {}
    for call in calls:
        numbers = [(call["who"], record["sequence"]) for record in call["records"]]
        earlier = [seen[number] for number in numbers if number in seen]
        call["retry_of"] = max(earlier, default=None)
        seen.update(dict.fromkeys(numbers, call["id"]))

"""Draw the timeline of a lab as a sequence diagram in Mermaid.

    print(drawn(lab.timeline.entries))

A diagram drawn from a run shows only events that happened. Equal invocations are drawn once, in a
loop.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dynamodb_streams_cdc.esm import Result
from dynamodb_streams_cdc.testing import ProcessKilled
from dynamodb_streams_cdc.testing.simulation.events import (
    Answered,
    AnswerIgnored,
    AnswerLost,
    Called,
    Failed,
    GivenUp,
    Invoked,
    InvokedLate,
    Lost,
    Repeated,
    Throttled,
    Unanswered,
    Written,
    changes_of,
)
from dynamodb_streams_cdc.testing.simulation.timeline import Entry

LONGEST_CALL = 72
"""Characters; a longer call is drawn as its method."""

NAMES = {"A": "application", "M": "mapping", "F": "function", "S": "sink", "D": "dead letters"}
"""The participants, from left to right."""

WRITES = "Note over A: "

_VERSION = re.compile(r"\.\.[\d/T:.-]*(\d{6})(?=[,)])")


@dataclass(frozen=True)
class Step:
    """One line of a diagram, and whether something new begins with it."""

    text: str
    begins: bool = False


def drawn(entries: Sequence[Entry], sink: str = "sink") -> str:
    """Return the diagram of a timeline; `sink` names the function's port."""
    steps = _joined([step for entry in entries for step in _steps(entry)])
    body = [line for turn in _turns(steps) for line in turn]
    used = "".join(body)
    head = [
        f"    participant {participant} as {sink if participant == 'S' else name}"
        for participant, name in NAMES.items()
        if re.search(rf"\b{participant}\b(-|:)|over {participant}\b|[>x)]{participant}:", used)
    ]
    return "\n".join(["sequenceDiagram", *head, *body])


def _joined(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with what is written at one time in one note."""
    joined: list[Step] = []
    for step in steps:
        if step.text.startswith(WRITES) and joined and joined[-1].text.startswith(WRITES):
            more = step.text.removeprefix(WRITES)
            joined[-1] = Step(f"{joined[-1].text}<br/>{more}", begins=True)
        else:
            joined.append(step)
    return joined


def _turns(steps: Sequence[Step]) -> Iterator[list[str]]:
    """Yield the lines of each invocation, in a loop if it is repeated."""
    turns: list[list[str]] = [[]]
    for step in steps:
        if step.begins:
            turns.append([])
        turns[-1].append(step.text)
    folded = [_folded(turn) for turn in turns]
    for turn, repeated in groupby(folded):
        yield [f"    {text}" for text in _looped(turn, len(list(repeated)))]


def _folded(turn: Sequence[str]) -> list[str]:
    return [line for text, same in groupby(turn) for line in _looped([text], len(list(same)))]


def _looped(lines: list[str], times: int) -> list[str]:
    if times == 1:
        return lines
    return [f"loop {times} times", *(f"    {line}" for line in lines), "end"]


def _steps(entry: Entry) -> Iterator[Step]:
    """Yield the steps of an event; the first begins something new if the event does."""
    event = entry.event
    match event:
        case Written(text=text):
            yield Step(f"{WRITES}{_plain(text)}", begins=True)
        case Invoked(records=records, attempt=attempt):
            again = " again" if attempt > 1 else ""
            none = "no records, the window is over"
            yield Step(f"M->>F: {changes_of(records) or none}{again}", begins=True)
        case InvokedLate(records=records):
            late = "once more, from a poller believed dead"
            yield Step(f"M->>F: {changes_of(records)}, {late}", begins=True)
        case Throttled(records=records):
            yield Step(f"M-xF: {changes_of(records)}, throttled", begins=True)
        case GivenUp(records=records):
            yield Step(f"M->>D: {changes_of(records)}", begins=True)
        case Lost(reason=reason, records=records) if reason.given_up:
            yield Step(f"M-xD: {changes_of(records)}", begins=True)
        case Lost(reason=reason, records=records):
            yield Step(f"Note over M: {reason}: {changes_of(records)}")
        case Called(dead_letter=True):
            yield Step("F->>D: the change and the reason")
        case Called(call=call, method=method, error=error):
            yield Step(f"F->>S: {_plain(call) if len(_plain(call)) <= LONGEST_CALL else method}")
            if error:
                yield Step(f"S--xF: {_plain(error)}")
        case Unanswered(method=method):
            yield Step(f"F-xS: {method}, not answered")
        case AnswerLost():
            yield Step("S--xF: the answer is lost")
        case Failed(error=ProcessKilled() as error):
            yield Step(f"Note over F: dies {_plain(str(error))}")
            yield Step("F--xM: no answer")
        case Failed(error=error):
            yield Step(f"F--xM: {_plain(repr(error))}")
        case Answered(result=result, reason=reason, first_failed=first):
            arrow = "F--xM" if result is Result.REJECTED else "F-->>M"
            said = f"not done from {changes_of([first])} on" if first else reason
            if result is Result.SUCCESS:
                said = ", ".join(filter(None, (result, reason)))
            yield Step(f"{arrow}: {_plain(said) or result}")
        case AnswerIgnored():
            yield Step(f"Note over M: {AnswerIgnored()}")
        case Repeated():
            yield Step("F-->>M: success")
            yield Step("Note over M: delivers it again all the same")
        case _:
            yield Step(f"Note over M: {_plain(str(event))}")


def _plain(text: str) -> str:
    """Return text without long versions and without the characters that Mermaid reserves."""
    text = _VERSION.sub(r"..\1", text)
    return text.replace(";", ",").replace("#", " ").replace("{", "(").replace("}", ")")

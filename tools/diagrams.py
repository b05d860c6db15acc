"""Draw what happened in a lab: its timeline as a sequence diagram in Mermaid.

    print(drawn(lab.timeline.lines))

A diagram that is drawn from a run cannot show what does not happen. Invocations that repeat each
other are drawn once, in a loop.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

LONGEST_CALL = 72
"""Characters; of a longer call only the method is shown."""

NAMES = {"A": "application", "M": "mapping", "F": "function", "S": "sink", "D": "dead letters"}
"""Whoever takes part, in the order in which they stand side by side."""

WRITES = "Note over A: "

_LINE = re.compile(r"\S{12}  (?P<actor>.{12}) (?P<indent> {4})?(?P<event>\S.*)")
_SEQUENCE = re.compile(r" \(\.\.\d+\)")
_VERSION = re.compile(r"\.\.[\d/T:.-]*(\d{6})(?=[,)])")
_ATTEMPT = re.compile(r"invoked, attempt \d+: ")


@dataclass(frozen=True)
class Step:
    """One line of a diagram, and whether something new begins with it."""

    text: str
    begins: bool = False


def drawn(lines: Sequence[str], sink: str = "sink") -> str:
    """Return the diagram of a timeline; `sink` is what the function's port stands for."""
    steps = _joined([step for line in lines for step in _steps(line)])
    body = [line for turn in _turns(steps) for line in turn]
    used = "".join(body)
    head = [
        f"    participant {dead_letter} as {sink if dead_letter == 'S' else name}"
        for dead_letter, name in NAMES.items()
        if re.search(rf"\b{dead_letter}\b(-|:)|over {dead_letter}\b|[>x)]{dead_letter}:", used)
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


def _steps(line: str) -> Iterator[Step]:
    match = _LINE.fullmatch(line)
    if match is None:
        message = f"no line of a timeline: {line!r}"
        raise ValueError(message)
    event = _plain(match["event"])
    if match["actor"].strip() == "table":
        yield Step(f"{WRITES}{event}", begins=True)
    elif match["indent"]:
        yield from _call(event)
    else:
        yield from _happened(event)


def _call(event: str) -> Iterator[Step]:
    call, raised, error = event.partition(" raises ")
    if call.endswith("is not answered: the sink is out"):
        yield Step(f"F-xS: {call.partition(' ')[0]}, not answered")
    elif call.startswith("the answer is lost"):
        yield Step("S--xF: the answer is lost")
    elif call.startswith("write(Letter("):
        yield Step("F->>D: the change and the reason")
    else:
        short = call if len(call) <= LONGEST_CALL else call.partition("(")[0]
        yield Step(f"F->>S: {short}")
        if raised:
            yield Step(f"S--xF: {error}")


def _happened(event: str) -> Iterator[Step]:
    what, _, rest = event.partition(": ")
    if event.startswith("invoked by a poller believed dead"):
        yield Step(f"M->>F: {rest}, once more, from a poller believed dead", begins=True)
    elif what.startswith("invoked"):
        again = " again" if _ATTEMPT.match(event) else ""
        yield Step(f"M->>F: {rest}{again}", begins=True)
    elif what == "answered":
        result, _, reason = rest.partition(", ")
        arrow = "F--xM" if result == "rejected" else "F-->>M"
        because = "" if reason.startswith("returned ") else reason
        yield Step(f"{arrow}: {because or result}")
    elif what == "answered, which counts no longer":
        yield Step(f"Note over M: {what}")
    elif event.startswith("failed, "):
        died = event.startswith("failed, ProcessKilled(")
        if died:
            yield Step(f"Note over F: dies {event.partition('(')[2].strip(chr(39) + ')')}")
        yield Step(f"F--xM: {'no answer' if died else event.removeprefix('failed, ')}")
    elif event.startswith("given up"):
        arrow = "M->>D" if "a dead letter" in what else "M-xD"
        yield Step(f"{arrow}: {rest}", begins=True)
    elif what == "throttled":
        yield Step(f"M-xF: {rest}, throttled", begins=True)
    elif event == "done, and delivered again all the same":
        yield Step("F-->>M: success")
        yield Step("Note over M: delivers it again all the same")
    else:
        yield Step(f"Note over M: {event}")


def _plain(text: str) -> str:
    """Return text without what a reader need not see, and what Mermaid would take as its own."""
    text = _VERSION.sub(r"..\1", _SEQUENCE.sub("", text))
    return text.replace(";", ",").replace("#", " ").replace("{", "(").replace("}", ")")

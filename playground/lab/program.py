"""The code in the editor: a module with a function, and the store that holds its copy.

| name | meaning | without it |
| --- | --- | --- |
| `handler(event, context)` | the function | required, unless there is `make` |
| `store` | the copy; each request to it can fail | an empty dictionary |
| `read(store)` | returns the copy as plain data | `dict(store)` |
| `wanted(items)` | returns the copy that the table implies | the items by key |
| `compare(copy, items)` | returns what is wrong, in words; in place of `wanted` | |
| `item(number, group, amount)` | makes an item | id, group, amount, price |
| `poison(item)` | makes of it one that the function cannot take | as in the kit |
| `make(trial)` | returns function and reader; in place of `handler`, `store` and `read` | |
"""

import ast
import inspect
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any, NoReturn

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.testing import Items, Trial
from dynamodb_streams_cdc.testing.simulation.scene import item_of, poisoned
from playground.lab.errors import Mistaken

FILE = "handler.py"
"""The name of the code in tracebacks."""

LONGEST = 50_000
"""Characters of the code."""

CLOUD = frozenset(
    {"aiobotocore", "aioboto3", "boto3", "botocore", "aws_lambda_powertools", "requests"}
)
"""Modules that people import and that are not here."""

NAMES = ("handler", "store", "read", "wanted", "compare", "item", "poison", "make")
"""The names of the code that mean something."""


@dataclass
class Program:
    """The code, once it ran."""

    text: str
    code: CodeType = field(repr=False)
    module: ModuleType = field(repr=False)
    used: bool = False

    def make(self, trial: Trial) -> Any:
        """Return function and reader with an empty store: the `make` of `check_convergence`.

        The code runs again for each, so its module remembers nothing of earlier runs.
        """
        module = _executed(self.code) if self.used else self.module
        self.used = True
        found = module.__dict__
        if "make" in found:
            return found["make"](trial)
        held = found.get("store", {})
        found["store"] = trial.faulty(held)
        read = found.get("read", dict)
        return found["handler"], lambda: read(held)

    def get(self, name: str) -> Any:
        """Return something that the code defines; None if it does not."""
        return self.module.__dict__.get(name)

    @property
    def wanted(self) -> Callable[[Items], Any] | None:
        """The copy that the table implies."""
        return None if self.compare else self.get("wanted") or Items.by_key

    @property
    def compare(self) -> Callable[[Any, Items], Iterable[str]] | None:
        """What is wrong, in words."""
        found: Callable[[Any, Items], Iterable[str]] | None = self.get("compare")
        return found

    @property
    def item(self) -> Callable[[int, int, int], Image]:
        """Makes an item."""
        return self.get("item") or item_of

    @property
    def poison(self) -> Callable[[Image], Image]:
        """Makes a poisoned item."""
        return self.get("poison") or poisoned


def load(text: str) -> Program:
    """Run the code once and return it.

    Raises:
        Mistaken: it is not Python, it fails, or it lacks the function.
    """
    if len(text) > LONGEST:
        _refuse(f"the code has {len(text):,} characters: write at most {LONGEST:,}")
    try:
        code = compile(text, FILE, "exec")
    except (SyntaxError, ValueError) as error:
        message = f"{_about(error)}: correct the code"
        raise Mistaken(message, "handler", getattr(error, "lineno", None)) from error
    try:
        module = _executed(code)
    except Exception as error:
        raise Mistaken(_failure(error), "handler", line_of(error)) from error
    _check(module, text)
    return Program(text, code, module)


def _executed(code: CodeType) -> ModuleType:
    module = ModuleType("handler")
    exec(code, module.__dict__)
    return module


def _about(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'msg', error)}"


def _failure(error: Exception) -> str:
    return advice(error) or f"the code fails before any call, {type(error).__name__}: {error}"


def advice(error: BaseException) -> str:
    """Return a sentence for an error whose cause is the browser; empty for another."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        if name in CLOUD:
            return (
                f"{name} is not in the browser: use `store`, whose requests fail as those of a "
                "client do, and check the client itself outside with check_convergence and moto"
            )
        return f"{name} is not in the browser: use the standard library or this project's"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "there are no threads in the browser: check a function that starts some outside"
    return ""


def _check(module: ModuleType, text: str) -> None:
    found = module.__dict__
    for name in NAMES:
        if name != "store" and name in found and not callable(found[name]):
            _refuse(f"{name} is {found[name]!r:.40}: make it a function", _line(text, name))
    if "make" in found:
        return
    if "handler" not in found:
        _refuse("there is no function named handler: define `def handler(event, context):`")
    handler = found["handler"]
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        message = "Lambda does not await an async handler: write `def handler`, without async"
        _refuse(message, _line(text, "handler"))
    try:
        inspect.signature(handler).bind({}, None)
    except TypeError:
        message = "Lambda calls handler with two arguments: write `def handler(event, context):`"
        _refuse(message, _line(text, "handler"))
    if not hasattr(found.get("store", {}), "__dict__") and type(found.get("store", {})) is not dict:
        message = "store must be a dictionary or an object with methods, which stand for requests"
        _refuse(message, _line(text, "store"))


def _line(text: str, name: str) -> int | None:
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                return node.lineno
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return node.lineno
    return None


def _refuse(message: str, line: int | None = None) -> NoReturn:
    raise Mistaken(message, "handler", line)


def line_of(error: BaseException) -> int | None:
    """Return the line of the code in which an error arose."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [number for frame, number in frames if frame.f_code.co_filename == FILE]
    return lines[-1] if lines else None

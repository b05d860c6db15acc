"""The page of the command line, from the commands and their options."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from dynamodb_streams_cdc.cli.app import app
from dynamodb_streams_cdc.cli.options import exit_statuses
from tools.markdown import table

HEAD = """\
<!-- Written by `python -m tools.docs`: edit src/dynamodb_streams_cdc/cli instead. -->

# Command line

`cdc` operates a deployed pipeline. `make setup` installs it, and so does `pip install '.[cli]'`
in a clone. It uses boto3: your AWS credentials, your Region, and `AWS_ENDPOINT_URL` if it is
set. The permissions that it needs are in the managed policies of the stack's outputs
`OperatorPolicyArn` and, for the metrics of `cdc status`, `MetricsPolicyArn`. It finds tables,
functions and buckets by the stack's output `Manifest`.
"""


def page() -> str:
    """Return the page: each command with its usage, arguments, options and exit statuses."""
    parts = [HEAD]
    for name, command in sorted(commands(get_command(app))):
        parts += [f"## cdc {name}", _prose(command.help), f"```text\n{_usage(name, command)}\n```"]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        rows = [_row(f"`{p.metavar}`", p) for p in arguments] + [
            _row(_called(p), p) for p in options
        ]
        parts.append(table(("argument or option", "meaning", "default"), rows))
        statuses = [(f"{status}", meaning) for status, meaning in exit_statuses(name).items()]
        parts.append(table(("exit status", "meaning"), statuses))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return every command with its name, such as `dead-letters show`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _usage(name: str, command: Any) -> str:
    arguments = [
        f"{p.metavar}{'...' if p.nargs == -1 else ''}" if p.required else f"[{p.metavar}]..."
        for p in command.params
        if p.param_type_name == "argument"
    ]
    return " ".join(["cdc", name, "[OPTIONS]", *arguments])


def _called(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return names if option.is_flag else f"{names} `{option.metavar}`"


def _row(called: str, parameter: Any) -> tuple[str, str, str]:
    meaning = _prose(parameter.help or "")
    if parameter.envvar:
        meaning += f" Environment variable: `{parameter.envvar}`."
    return called, meaning, _default(parameter)


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.required:
        return "required"
    if getattr(parameter, "is_flag", False):
        return "no"
    if isinstance(parameter.default, str):
        return f"`{parameter.default}`"
    return "none" if parameter.default is None else f"`{parameter.default:g}`"

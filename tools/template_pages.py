"""Synthesise the stacks; write what the reference shows of their templates.

    python -m tools.template_pages

The pages are permissions.md, alarms.md and functions.md; the quantities of the cost page go to
docs/quantities.json.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App

from lambdas.example_domain import TABLES
from stacks import environments
from stacks.application import add_stacks
from tools import alarms_page, costs, functions_page, permissions
from tools.example_context import CONTEXT


def synthesised(name: str, folder: Path, **settings: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the templates of an environment, by what each stack is for."""
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "stand_in.py").touch()
    context = {**CONTEXT, "environment": name, "alarm_email": "on-call@example.com", **settings}
    out = folder / ("more" if settings else name)
    app = App(context=context, outdir=str(out), builtin_cloud_formation_validation=False)
    environment = environments.load(app.node.get_all_context())
    add_stacks(app, environment=environment, tables=TABLES, package=code)
    app.synth()
    return {
        path.name.split(".")[0].removeprefix(f"cdc-{name}-"): json.loads(path.read_text())
        for path in out.glob("*.template.json")
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: synthesised(name, Path(folder)) for name in ("sandbox", "production")}
        settings = {k: v for k, v in permissions.EVERYTHING.items() if k != "environment"}
        everything = synthesised("production", Path(folder), **settings)
    permissions.PAGE.write_text(permissions.page(found["production"], everything))
    pipelines = {name: templates["pipeline"] for name, templates in found.items()}
    alarms_page.PAGE.write_text(alarms_page.page(pipelines, everything["pipeline"]))
    functions_page.PAGE.write_text(functions_page.page(pipelines))
    costs.QUANTITIES.write_text(json.dumps(costs.count(pipelines), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

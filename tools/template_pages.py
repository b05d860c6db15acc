"""Write the pages of the reference that show the templates: permissions and alarms.

python -m tools.template_pages
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App
from aws_cdk import aws_lambda as lambda_

from stacks import environments
from stacks.application import add_stacks
from tools import alarms_page, permissions

ROOT = Path(__file__).parent.parent


def synthesised(name: str, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the templates of an environment, by what each stack is for."""
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "stand_in.py").touch()
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"environment": name, "alarm_email": "on-call@example.com"}
    out = folder / name
    app = App(context=context, outdir=str(out))
    environment = environments.load(app.node.get_all_context())
    add_stacks(app, environment=environment, code=lambda_.Code.from_asset(str(code)))
    app.synth()
    return {
        path.name.split(".")[0].removeprefix(f"cdc-{name}-"): json.loads(path.read_text())
        for path in out.glob("*.template.json")
    }


def main() -> int:
    """Write the pages; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: synthesised(name, Path(folder)) for name in ("sandbox", "production")}
    permissions.PAGE.write_text(permissions.page(found["production"]))
    pipelines = {name: templates["pipeline"] for name, templates in found.items()}
    alarms_page.PAGE.write_text(alarms_page.page(pipelines))
    print(permissions.PAGE.relative_to(ROOT), alarms_page.PAGE.relative_to(ROOT), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

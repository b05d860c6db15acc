"""The CDK app: `cdk synth -c environment=sandbox`; see stacks/environments.py for the settings."""

from dynamodb_streams_cdc.entities import DeclarationError
from stacks import environments
from stacks.errors import SynthError
from stacks.packaging import package

# jsii starts with aws_cdk, and `stacks` says which Node it runs.
# isort: split
from aws_cdk import App

from stacks.acknowledgments import check_best_practices
from stacks.application import add_stacks


def main() -> None:
    """Synthesise the stacks of the environment that the context chooses."""
    app = App()
    try:
        # A declaration is checked when it is imported.
        from lambdas.domain import TABLES

        environment = environments.load(app.node.get_all_context())
        folder = package("host" if environment.is_emulated else "aws")
        add_stacks(app, environment=environment, tables=TABLES, package=folder)
    except (SynthError, DeclarationError) as error:
        raise SystemExit(str(error)) from None
    if app.node.try_get_context("nag") != "false":
        check_best_practices(app, environment)
    app.synth()


if __name__ == "__main__":
    main()

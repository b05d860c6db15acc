"""The CDK app: `cdk synth -c environment=sandbox`; see stacks/environments.py for the settings."""

from stacks.environments import load
from stacks.errors import SynthError
from stacks.packaging import package


def main() -> None:
    """Synthesise the stacks of the environment that the context chooses."""
    from aws_cdk import App
    from aws_cdk import aws_lambda as lambda_

    from stacks.acknowledgments import check_best_practices
    from stacks.application import add_stacks

    app = App()
    try:
        environment = load(app.node.get_all_context())
        code = lambda_.Code.from_asset(
            str(package("host" if environment.name == "local" else "aws"))
        )
        if app.node.try_get_context("nag") != "false":
            check_best_practices(app)
        add_stacks(app, environment=environment, code=code)
    except SynthError as error:
        raise SystemExit(str(error)) from None
    app.synth()


if __name__ == "__main__":
    main()

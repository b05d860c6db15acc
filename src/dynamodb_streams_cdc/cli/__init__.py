"""The command line `cdc` for operators of a pipeline.

Needs the extra `cli`. Uses boto3, with its credentials and its configured endpoints.
"""

import sys


def main() -> None:
    """Run `cdc` on the arguments of this process."""
    try:
        from dynamodb_streams_cdc.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dynamodb_streams_cdc"):
            raise
        sys.exit(
            f"cdc needs {error.name}, which is not installed: "
            "pip install 'dynamodb-streams-cdc[cli]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    app()

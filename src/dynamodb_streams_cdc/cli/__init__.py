"""The command line of whoever operates a pipeline: `cdc`.

Needs the extra `cli`. It speaks to AWS through boto3, and so to whatever boto3 is pointed at.
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

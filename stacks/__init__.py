"""The stacks of each environment.

jsii runs the first `node` on PATH, which may be one that it no longer supports. The Node that the
project installs is named here, because this package is imported before `aws_cdk` starts jsii.
"""

import os
import sys
from pathlib import Path

_NODE = Path(sys.executable).parent / "node"
if _NODE.exists():
    os.environ.setdefault("JSII_NODE", str(_NODE))

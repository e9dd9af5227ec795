"""`python -m sage_sandbox` is the command `sage-sandbox`."""

from __future__ import annotations

import sys

from sage_sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m tap_sage_accounting.sandbox` is the command `sage-sandbox`."""

from __future__ import annotations

import sys

from tap_sage_accounting.sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())

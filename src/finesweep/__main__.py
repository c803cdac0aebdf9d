"""`python -m finesweep`: the `finesweep` command."""

import sys

from finesweep.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

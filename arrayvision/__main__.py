"""`python -m arrayvision` is the command `arrayvision`."""

import sys

from arrayvision.cli import main

sys.exit(main())

"""`python -m forethought`."""

import sys

from forethought.cli.main import main

sys.exit(main())

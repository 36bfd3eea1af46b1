"""`python -m nightlab` is `nightlab`."""

import sys

from nightlab.cli.entry import main

sys.exit(main())

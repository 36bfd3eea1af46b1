"""`python -m nightlab` is `nightlab`."""

import sys

from nightlab.cli.main import main

sys.exit(main())

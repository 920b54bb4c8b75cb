"""python -m dads_ros VERB."""

import sys

from dads_ros.cli.main import main

sys.exit(main())

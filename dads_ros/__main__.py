"""python -m dads_ros VERB."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of an import that Ctrl-C ends

from dads_ros.cli.main import main

sys.exit(main())

"""python -m dads_ros VERB."""

import sys

from dads_ros.working_folder import path_without_it

sys.path[:] = path_without_it()  # 'python -m' looks there first, also for what comes now

import signal  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of an import that Ctrl-C ends

from dads_ros.cli.main import main  # noqa: E402

sys.exit(main())

"""dads-ros refit: the skill dynamics of a bundle, refitted to what its policy does."""

import argparse
import shlex
import sys
from typing import Any

from dads_ros.cli.arguments import check_numbers
from dads_ros.errors import ConfigError
from dads_ros.files import find_file, user_path
from dads_ros.learning.refit import refit_bundle
from dads_ros.robot import RobotSpec


def add_parser(subparsers: Any) -> None:  # noqa: ANN401
    """Declare the verb."""
    parser = subparsers.add_parser(
        "refit",
        help="refit a bundle's skill dynamics, with momentum",
        description="Refit the skill dynamics of a bundle to what its policy does in MuJoCo, "
        "with the speed of the base as input and output. The policy stays as it is.",
    )
    parser.add_argument("bundle", help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the new bundle")
    parser.add_argument("--robot", help="robot file that the bundle must fit; its MJCF is used")
    parser.add_argument(
        "--skill-part",
        type=float,
        metavar="PART",
        help="plan over this part of the skill prior at most, where the longest skills fall too "
        "often; default: as before",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises: DadsError."""
    check_numbers(args, seed=0)
    part = args.skill_part
    if part is not None and not 0.01 <= part <= 1.0:
        raise ConfigError(f"--skill-part is {part:g}; it must be between 0.01 and 1")
    robot = None if args.robot is None else RobotSpec.load(args.robot)
    source = find_file(args.bundle, folder="models")
    print(f"watching the skills of {source}", file=sys.stderr, flush=True)
    refit_bundle(source, args.out, robot=robot, skill_part=part, seed=args.seed)
    print(f"wrote {args.out}; its figures: dads-ros evaluate {shlex.quote(str(args.out))} --save")
    return 0

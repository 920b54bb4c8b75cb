"""Settings of the baselines; they import nothing that those need."""

from dataclasses import dataclass

from dads_ros.config import REQUIRED, Config, setting

POLICY_FOLDER = "policy"
"""Of a run, where it leaves its policy."""


@dataclass(frozen=True, kw_only=True)
class GoalSacConfig(Config):
    """One training run."""

    robot: str = setting(REQUIRED, help="Robot file: the name of a shipped one.")
    sparse: bool = setting(REQUIRED, help="Reward -1 but near the goal; else minus the distance.")
    her: bool = setting(REQUIRED, help="Four in five goals of a batch are places reached later.")
    goal_range_m: float = setting(10.0, min=0.1, help="Goals lie in a square of twice this side.")
    num_env_steps: int = setting(
        2_457_600,
        min=1,
        help="Control steps of all robots together: those of the Ant's skills, with their refit.",
    )
    num_envs: int = setting(32, min=1, help="Robots.")
    episode_steps: int = setting(200, min=1, help="Control steps to a goal.")
    updates_per_vector_step: int = setting(2, min=1, help="Updates after a step of all robots.")
    learning_starts: int = setting(10_000, min=0, help="Control steps with random actions.")
    replay_capacity: int = setting(500_000, min=1, help="Control steps.")
    hidden: tuple[int, ...] = setting((256, 256), min=1, help="Hidden layers of all networks.")
    batch_size: int = setting(256, min=1, help="Transitions of an update.")
    learning_rate: float = setting(3e-4, min=0.0, help="Of Adam.")
    discount: float = setting(0.99, min=0.0, max=1.0, help="Of rewards.")

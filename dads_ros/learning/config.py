"""TrainConfig: every setting of a training run. Defaults are the plain method of the paper."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from dads_ros.config import (
    REQUIRED,
    Config,
    DomainRandomization,
    SkillPriorConfig,
    setting,
    shown,
)
from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write, user_path
from dads_ros.prediction import PredictedField, PredictionSpec

CONFIG_FILE = "config.yaml"
"""Of a run's folder: what it is trained with."""
MAX_LAYERS, MAX_ROWS, MAX_ALTERNATIVES = 16, 4_000_000, 100_000
"""Hidden layers; transitions sampled for one iteration; Gaussians compared in one reward."""


@dataclass(frozen=True, kw_only=True)
class SymmetryConfig(Config):
    """Symmetries that are built into the networks. Differs from the paper, which uses none."""

    yaw: bool = setting(
        False,
        help="Physics on flat ground is the same after a turn about gravity: policy, critic and "
        "skill dynamics see everything from the direction of the skill, or, where it is zero, "
        "from the heading.",
    )
    body: bool = setting(
        False, help="Relabel the body by the robot file's symmetry to bring yaw into one sector."
    )
    mirror: bool = setting(
        False,
        help="Half of what is sampled is replaced by its mirror image, by the robot file's "
        "mirror; the second entry of the skill changes sign, with yaw predicted also the third.",
    )


@dataclass(frozen=True, kw_only=True)
class SkillDynamicsConfig(Config):
    """q(delta | s, z): a mixture of Gaussians; sigma is fixed or follows the displacement."""

    hidden: tuple[int, ...] = setting((512, 512), min=1, max=4096, help="Hidden layer sizes.")
    learning_rate: float = setting(3e-4, min=1e-7, max=1.0, help="Adam step size.")
    num_experts: int = setting(4, min=1, max=64, help="Gaussians in the mixture.")
    batch_size: int = setting(256, min=1, max=65536, help="Transitions per gradient step.")
    gradient_steps: int = setting(32, min=1, max=10000, help="Gradient steps per iteration.")
    newest_fraction: float = setting(
        1.0, min=0.001, max=1.0, help="Part of the replay buffer, newest first, that it is fit to."
    )
    sigma_m: float = setting(
        0.1, min=1e-6, max=100.0, help="Standard deviation of predicted x and y, metres."
    )
    sigma_rad: float = setting(
        0.3, min=1e-6, max=100.0, help="Standard deviation of predicted yaw, radians."
    )
    sigma_body: float = setting(
        1.0,
        min=1e-6,
        max=100.0,
        help="Standard deviation of predicted observations, relative to the size of their changes "
        "when training begins.",
    )
    sigma_ratio: float = setting(
        0.0,
        min=0.0,
        max=10.0,
        help="0: fixed sigma. Else, after the warm start, sigma of x and y goes to this factor "
        "times the root mean square displacement / sqrt(2), and that of yaw to this factor times "
        "the root mean square turn: the reward never stops paying for distance.",
    )
    min_sigma_m: float = setting(
        0.1,
        min=1e-6,
        max=100.0,
        help="Lower bound of a sigma that follows the displacement, before final_sigma_factor.",
    )
    min_sigma_rad: float = setting(
        0.3, min=1e-6, max=100.0, help="The same of one that follows the turn."
    )
    final_sigma_factor: float = setting(
        1.0,
        min=0.01,
        max=1.0,
        help="Factor on a sigma that follows the displacement at the end; it falls linearly over "
        "the last half: skills first learn to go far, then to keep exactly to their way.",
    )
    importance_clip: float = setting(
        0.0,
        min=0.0,
        max=1e6,
        help="0: off. Else q's likelihood is weighted by the ratio of the action's probability "
        "now to that when it was taken, clipped to [1 / importance_clip, importance_clip]; "
        "off-policy DADS (arXiv:2004.12974) has 10.",
    )
    quiet_fraction: float = setting(
        1.0,
        min=0.001,
        max=1.0,
        help="Part of the robots, those with the least collect.noise_scale, whose experience q is "
        "fitted to: the planner drives with the mean action.",
    )
    linear: bool = setting(
        False,
        help="The q of the reward predicts displacements that are linear in the skill: all ways "
        "and all speeds are wanted alike. The exported q is free of that. In the heading frame "
        "the entries of the skill are forward, left and turn, each by itself, at least as fast as "
        "the warm start and at most as the robot file's 'top_speed'.",
    )
    stretch: float = setting(
        1.0,
        min=1.0,
        max=10.0,
        help="Factor on the means of q in the reward, after the warm start: above 1, skills are "
        "paid for going a little further than they do.",
    )
    warm_start_steps: int = setting(
        0,
        min=0,
        help="At most so many gradient steps of the policy the mean of the reward's q stays "
        "warm_start_m * z; 0 is the paper. With more than the run has it stays so to the end, and "
        "skills learn to keep to these speeds.",
    )
    warm_start_until: float = setting(
        1.0,
        min=0.0,
        max=100.0,
        help="The warm start ends when the skills go this part of what it predicts.",
    )
    warm_start_m: float | tuple[float, ...] = setting(
        0.0,
        min=0.0,
        max=100.0,
        help="Length of the predicted displacement at |z| = 1, metres; or a list of how far each "
        "entry of the skill leads by itself: x, y (m) and, where it is predicted, yaw (rad).",
    )
    refit: bool = setting(
        False,
        help="At export, refit the skill dynamics of the bundle to the policy's mean action, "
        "with the base's velocity as input and output, and the time that the skill is held as "
        "input: q(delta, v' | v, z, t), which also predicts falls. For planning only; needs "
        "'prediction.fields: [x, y]' in the world frame, or [x, y, yaw] in the heading frame.",
    )


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Config):
    """The intrinsic reward."""

    objective: Literal["dads", "diayn", "metra"] = setting(
        "dads",
        help="What rewards skills. The others are for comparisons: diayn (arXiv:1802.06070), "
        "metra (arXiv:2310.08887); their networks have 'hidden', 'learning_rate', 'batch_size' "
        "and 'gradient_steps' of 'skill_dynamics', which is learned beside them for planning.",
    )
    state_fields: tuple[PredictedField, ...] = setting(
        ("x", "y"),
        help="What diayn and metra see of a state: x and y of the base (m) and its yaw (rad) "
        "since the skill began, any of the robot's observation.",
    )
    num_alt_skills: int = setting(
        100,
        min=1,
        max=10000,
        help="Skills from the prior in the denominator (L); all of a discrete one are.",
    )
    fall_cost: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=1e4,
        help="What a fall costs, nats, where it ends the episode: in the first half of the run "
        "and, after a linear change, at its end. Less at first, for a robot that is punished "
        "before it can walk does not try to. 0 is the paper.",
    )
    tilt_cost: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=1000.0,
        help="What a step costs, nats, with the base on its side; a smaller tilt costs "
        "1 - cosine of it, 0.13 at 30 degrees. In the first half of the run and, after a linear "
        "change, at its end. 0 is the paper.",
    )
    limits_cost: tuple[float, float] = setting(
        (0.1, 1.0),
        min=0.0,
        max=1000.0,
        help="What a step costs, nats, in which a limit of the robot file's 'body_limits' is "
        "exceeded by as much again; at most 4 for all of them, and a fall costs as much as 4 for "
        "good. In the first half of the run and, after a linear change, at its end. The paper's "
        "robots have no such limits.",
    )
    motion_cost: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=100.0,
        help="Under a zero skill the reward of a step is less by this factor times log(1 + base "
        "speed / 0.1 m/s) + log(1 + root mean square joint speed / 1 rad/s), in nats. In the "
        "first half of the run and, after a linear change, at its end; 0 is the paper. Needs "
        "'collect.zero_skill_fraction'.",
    )


@dataclass(frozen=True, kw_only=True)
class SacConfig(Config):
    """Soft actor-critic (arXiv:1812.05905)."""

    hidden: tuple[int, ...] = setting((512, 512), min=1, max=4096, help="Hidden layer sizes.")
    learning_rate: float = setting(3e-4, min=1e-7, max=1.0, help="Adam step size of all parts.")
    final_learning_rate_factor: float = setting(
        1.0,
        min=0.0,
        max=1.0,
        help="Factor on the step size at the end; it falls linearly over the last half.",
    )
    batch_size: int = setting(256, min=1, max=65536, help="Transitions per gradient step.")
    gradient_steps: int = setting(64, min=1, max=10000, help="Gradient steps per iteration.")
    discount: float = setting(0.99, min=0.0, max=1.0, help="Discount per control step.")
    actor_period: int = setting(
        1,
        min=1,
        max=1000,
        help="Gradient steps of the critic for one of actor and temperature, which is half of the "
        "cost of a step (arXiv:1802.09477); 1 is the paper.",
    )
    tau: float = setting(0.005, min=0.0, max=1.0, help="Step of the target critic.")
    temperature: float = setting(0.1, min=1e-8, max=100.0, help="Weight of entropy at the start.")
    learn_temperature: bool = setting(
        False, help="Adjust the temperature to hold target_entropy; False is the paper."
    )
    target_entropy_per_action: float = setting(
        -0.5,
        min=-20.0,
        max=0.69,
        help="Wanted entropy per actuator, nats, with 'learn_temperature'; that of uniformly "
        "random actions is ln 2.",
    )
    final_target_entropy_per_action: float | None = setting(
        None,
        min=-20.0,
        max=0.69,
        help="The same at the end of the run, to which it changes linearly over the last half; "
        "null: no change. Less noise at the end makes smoother commands. Needs "
        "'learn_temperature'.",
    )
    compile: bool = setting(
        False,
        help="Run the updates through torch.compile: about half again as fast after seconds of "
        "compiling, the same to rounding. Without a C++ compiler it warns and goes on without.",
    )
    critic_layer_norm: bool = setting(
        False,
        help="Normalise the hidden layers of the critics, which keeps their values in bounds "
        "where there is no data (arXiv:2302.02948).",
    )
    critic_bins: int = setting(
        0,
        min=0,
        max=10_000,
        help="0: the critics learn Q by its squared error. Else by the cross-entropy of a "
        "distribution over this many values within 'critic_bounds' (arXiv:2403.03950), for "
        "robots whose falls cost much more than a step earns.",
    )
    critic_bounds: tuple[float, float] = setting(
        (-150.0, 150.0),
        min=-1e5,
        max=1e5,
        help="Least and greatest Q that bins stand for, nats. A step of DADS earns at most "
        "ln(1 + reward.num_alt_skills), and Q is at most 1 / (1 - discount) times that.",
    )
    policy_average: float = setting(
        0.0,
        min=0.0,
        max=0.99999,
        help="Exported and evaluated policy: running average of the weights with this factor per "
        "gradient step, at first over a tenth of the steps so far; 0 exports the newest weights.",
    )


@dataclass(frozen=True, kw_only=True)
class CollectConfig(Config):
    """How experience is collected."""

    num_envs: int = setting(10, min=1, max=100000, help="Robots stepped together (N).")
    steps_per_iteration: int = setting(
        200, min=1, max=100_000, help="Control steps of each robot (T)."
    )
    episode_steps: int = setting(200, min=2, max=1_000_000, help="Control steps of an episode.")
    skill_switch_probability: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=1.0,
        help="Chance per control step of a new skill inside an episode, in the first half of the "
        "run and, after a linear change, at its end; 0 is the paper.",
    )
    nearby_skill_fraction: float = setting(
        0.0,
        min=0.0,
        max=0.95,
        help="Part of the new skills inside an episode that are near the last one instead of one "
        "of the prior: most changes that planning makes are such. 0 is the paper.",
    )
    noise_scale: tuple[float, float] = setting(
        (1.0, 1.0),
        min=0.0,
        max=10.0,
        help="Factors on the noise of the policy, from the first robot to the last. Those near 0 "
        "show where the mean action, which is what is exported, gets stuck.",
    )
    zero_skill_fraction: float = setting(
        0.0,
        min=0.0,
        max=0.9,
        help="Part of the skills that are exactly zero instead of one of the prior, which is "
        "never that still: under it the robot learns to stand. 0 is the paper.",
    )
    short_skill_fraction: float = setting(
        0.0,
        min=0.0,
        max=1.0,
        help="Part of the skills of the prior that are made shorter, each by a factor uniform in "
        "[0, 1]: slow skills, with which planning ends its ways, are seldom ones of a disc, and "
        "the more so the more dimensions it has. 0 is the paper.",
    )
    push_mps: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=100.0,
        help="About every 4 s each robot is pushed for one control step in a random direction, "
        "which changes its velocity by up to this, m/s, in the first half of the run and, after a "
        "linear change, at its end; 0 is the paper.",
    )
    delay_ms: tuple[float, float] = setting(
        (0.0, 0.0),
        min=0.0,
        max=1000.0,
        help="Range of the delay from state to command, drawn per episode; half of them are one "
        "of its two ends.",
    )
    randomization: DomainRandomization = setting(
        DomainRandomization(), help="Bodies, ground and sensors that differ from robot to robot."
    )
    replay_capacity: int = setting(
        300_000,
        min=1000,
        max=100_000_000,
        help="Transitions in the replay buffer. With 'prediction.steps: 1', num_envs * "
        "(steps_per_iteration + 2) is on-policy: only the newest iteration is sampled, collected "
        "with the policy of one iteration ago.",
    )
    warmup_steps: int = setting(
        10_000, min=0, help="Control steps of random actions before learning starts."
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """One training run."""

    robot: str = setting(REQUIRED, help="Robot file: the name of a shipped one, or a path.")
    seed: int = setting(0, min=0, help="Seed of every random number of the run.")
    num_iterations: int = setting(
        10_000,
        min=1,
        help="Iterations; each collects, then trains q and the policy. What changes over the "
        "last half of the run goes by it.",
    )
    evaluate_every: int = setting(
        500,
        min=1,
        help="Iterations between evaluations of 48 skills (mean action); the last is judged too.",
    )
    checkpoint_period_s: float = setting(
        45.0, min=0.0, max=3600.0, help="Seconds between checkpoints; at most so much is lost."
    )
    show_period_s: float = setting(
        60.0,
        min=0.0,
        max=86400.0,
        help="So many seconds after skills were last seen, 32 are rolled out to be looked at; "
        "nothing that is learned depends on it.",
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", help="auto: cuda when there is one, else cpu."
    )
    skill_prior: SkillPriorConfig = setting(SkillPriorConfig(), help="The skill prior p(z).")
    prediction: PredictionSpec = setting(
        PredictionSpec(steps=1), help="What the skill dynamics predicts."
    )
    symmetry: SymmetryConfig = setting(SymmetryConfig(), help="Symmetries of the networks.")
    skill_dynamics: SkillDynamicsConfig = setting(SkillDynamicsConfig(), help="q(delta | s, z).")
    reward: RewardConfig = setting(RewardConfig(), help="The intrinsic reward.")
    sac: SacConfig = setting(SacConfig(), help="Soft actor-critic.")
    collect: CollectConfig = setting(CollectConfig(), help="Collecting experience.")

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a YAML file; a robot file may be named as it lies from there.

        Raises: ConfigError that names the file.
        """
        config = super().from_yaml(path)
        return config.with_robot(config.robot, path.parent)

    def with_robot(self, name: str, folder: Path) -> Self:
        """With another robot; the path of a file is taken from this folder and made absolute."""
        path = folder / user_path(name)
        return dataclasses.replace(self, robot=str(path.resolve()) if path.is_file() else name)

    def save(self, folder: Path) -> None:
        """Write CONFIG_FILE of the run in this folder, from where a robot file is named."""
        path = Path(self.robot)
        robot = os.path.relpath(path, folder.resolve()) if path.is_file() else self.robot
        with atomic_write(folder / CONFIG_FILE) as temporary:
            dataclasses.replace(self, robot=robot).to_yaml(temporary)

    def __post_init__(self) -> None:
        """Check what spans several parts. Raises: ConfigError."""
        super().__post_init__()
        self._check_size()
        if self.symmetry.yaw and self.skill_prior.dim < 2:
            raise ConfigError("'symmetry.yaw' needs 'skill_prior.dim' of at least 2")
        if self.symmetry.yaw and self.prediction.frame != "world":
            raise ConfigError("'symmetry.yaw' needs 'prediction.frame: world'")
        if self.prediction.momentum:
            raise ConfigError(
                "'prediction.momentum' is what a refitted bundle has; set 'skill_dynamics.refit: "
                "true' instead"
            )
        if self.skill_dynamics.refit and not self.prediction.can_have_momentum:
            raise ConfigError(
                "'skill_dynamics.refit' needs 'prediction.fields: [x, y]' and 'prediction.frame: "
                "world', or 'prediction.fields: [x, y, yaw]' and 'prediction.frame: heading'"
            )
        low, high = self.collect.noise_scale
        if low > high or high == 0.0:
            raise ConfigError(
                f"'collect.noise_scale' is [{low:g}, {high:g}]; expected the smaller one first, "
                "and the other one above 0"
            )
        if self.symmetry.body and self.prediction.frame != "world":
            raise ConfigError("'symmetry.body' needs 'prediction.frame: world'")
        if self.prediction.body_fields and (self.symmetry.yaw or self.symmetry.body):
            raise ConfigError(
                f"'prediction.fields' has {', '.join(self.prediction.body_fields)}: that needs "
                "'symmetry.yaw: false' and 'symmetry.body: false', which see the observation from "
                "the skill"
            )
        if self.symmetry.yaw and self.skill_prior.kind != "disc":
            raise ConfigError(
                "'symmetry.yaw' needs 'skill_prior.kind: disc', which a turn maps on itself"
            )
        if self.symmetry.mirror and (
            self.skill_prior.kind == "discrete" or self.skill_prior.dim < 2
        ):
            raise ConfigError(
                "'symmetry.mirror' needs a continuous 'skill_prior.kind' and a 'skill_prior.dim' "
                "of at least 2: the mirror image has the second entry with the other sign"
            )
        if self.skill_prior.kind == "discrete" and self.skill_dynamics.warm_start_steps > 0:
            raise ConfigError(
                "'skill_dynamics.warm_start_steps' needs a continuous 'skill_prior.kind': there "
                "is no direction in a discrete skill"
            )
        q = self.skill_dynamics
        self._check_objective()
        self._check_warm_start()
        if q.warm_start_steps > 0 and not any(self.warm_start):
            raise ConfigError(
                "'skill_dynamics.warm_start_steps' needs a 'skill_dynamics.warm_start_m' above 0: "
                "how far the longest skills are to go"
            )
        if q.final_sigma_factor < 1.0 and q.sigma_ratio == 0.0:
            raise ConfigError(
                "'skill_dynamics.final_sigma_factor' needs a 'skill_dynamics.sigma_ratio' above "
                "0: a fixed sigma does not change"
            )
        if q.linear and self.prediction.frame == "heading":
            self._check_axes()
        is_plane = self.skill_prior.dim == 2 and self.prediction.fields == ("x", "y")
        if q.linear and self.symmetry.yaw and not is_plane:
            raise ConfigError(
                "'skill_dynamics.linear' with 'symmetry.yaw' needs 'skill_prior.dim: 2' and "
                "'prediction.fields: [x, y]'"
            )
        clip = q.importance_clip
        if 0.0 < clip < 1.0:
            raise ConfigError(
                f"'skill_dynamics.importance_clip' is {clip:g}; expected 0 (off) or at least 1"
            )
        if clip > 0.0 and (self.prediction.steps > 1 or self.collect.noise_scale != (1.0, 1.0)):
            raise ConfigError(
                "'skill_dynamics.importance_clip' needs 'prediction.steps: 1' and "
                "'collect.noise_scale: [1, 1]': the ratio is that of one action of the policy"
            )
        if clip > 0.0 and self.symmetry.mirror:
            raise ConfigError(
                "'skill_dynamics.importance_clip' needs 'symmetry.mirror: false': no policy took "
                "the actions of a mirror image"
            )
        for name in ("zero_skill_fraction", "short_skill_fraction", "nearby_skill_fraction"):
            if getattr(self.collect, name) > 0.0 and self.skill_prior.kind == "discrete":
                raise ConfigError(
                    f"'collect.{name}' needs a continuous 'skill_prior.kind': a discrete one has "
                    "no zero skill, none that is short and none that is near another"
                )
        sac, usual = self.sac, SacConfig()
        for name in ("target_entropy_per_action", "final_target_entropy_per_action"):
            if getattr(sac, name) != getattr(usual, name) and not sac.learn_temperature:
                raise ConfigError(
                    f"'sac.{name}' needs 'sac.learn_temperature: true': a fixed temperature aims "
                    "at no entropy"
                )
        self._check_bins()
        if max(self.reward.motion_cost) > 0.0 and self.collect.zero_skill_fraction == 0.0:
            raise ConfigError(
                "'reward.motion_cost' needs 'collect.zero_skill_fraction' above 0: it is the cost "
                "of moving under a zero skill"
            )
        if self.collect.episode_steps <= self.prediction.steps:
            raise ConfigError("'collect.episode_steps' must exceed 'prediction.steps'")
        capacity_rows = self.collect.replay_capacity // self.collect.num_envs
        if capacity_rows < 2 * self.prediction.steps + self.collect.steps_per_iteration:
            raise ConfigError(
                f"'collect.replay_capacity' {self.collect.replay_capacity} holds {capacity_rows} "
                "steps of each robot; raise it or lower 'num_envs'"
            )

    @property
    def warm_start(self) -> tuple[float, ...]:
        """How far each entry of the skill leads by itself: x, y (m) and perhaps yaw (rad).

        One number for each predicted part of the pose, 0 where no entry of the skill is left.
        """
        given, num = self.skill_dynamics.warm_start_m, len(self.prediction.pose_fields)
        lengths = given if isinstance(given, tuple) else (given, given)
        return (*lengths[: self.skill_prior.dim], 0.0, 0.0, 0.0)[:num]

    def _check_objective(self) -> None:
        """Check what a rival of DADS does not go with. Raises: ConfigError."""
        reward, symmetry, q = self.reward, self.symmetry, self.skill_dynamics
        if not reward.state_fields:
            raise ConfigError("'reward.state_fields' is []; expected one field at least, as x")
        if reward.objective == "dads":
            if reward.state_fields != ("x", "y"):
                raise ConfigError(
                    "'reward.state_fields' needs 'reward.objective: diayn' or 'metra'; what DADS "
                    "sees is 'prediction.fields'"
                )
            return
        if reward.objective == "metra" and "yaw" in reward.state_fields:
            raise ConfigError(
                "'reward.state_fields' has yaw, which jumps from pi to -pi, where "
                "'reward.objective: metra' needs neighbouring states to be near; leave it out"
            )
        rows = self.collect.replay_capacity // self.collect.num_envs
        if rows <= self.collect.episode_steps:
            raise ConfigError(
                f"'collect.replay_capacity' holds {rows} steps of a robot, and "
                f"'reward.objective: {reward.objective}' needs whole skills: more than "
                f"'collect.episode_steps' ({self.collect.episode_steps}) of each; raise it"
            )
        sees_body = not set(reward.state_fields) <= {"x", "y", "height"}
        for name, value, needed in (
            ("symmetry.yaw", symmetry.yaw, False),
            ("symmetry.body", symmetry.body and sees_body, False),
            ("skill_dynamics.linear", q.linear, False),
            ("skill_dynamics.stretch", q.stretch, 1.0),
            ("skill_dynamics.warm_start_steps", q.warm_start_steps, 0),
        ):
            if value != needed:
                part = "has no q(delta | s, z)"
                if "symmetry" in name:
                    part = "is another one after a turn"
                raise ConfigError(
                    f"'reward.objective: {reward.objective}' needs '{name}: {shown(needed)}', "
                    f"and it is {shown(value)}: its reward {part}"
                )

    def _check_warm_start(self) -> None:
        """Check a list of lengths. Raises: ConfigError."""
        given, pose = self.skill_dynamics.warm_start_m, self.prediction.pose_fields
        if not isinstance(given, tuple):
            return
        if len(given) != len(pose) or self.skill_prior.dim < len(pose):
            raise ConfigError(
                f"'skill_dynamics.warm_start_m' has {len(given)} numbers; expected one, or with a "
                f"'skill_prior.dim' of at least {len(pose)} one each for {', '.join(pose)}"
            )
        if self.symmetry.yaw:
            raise ConfigError(
                "'symmetry.yaw' needs a 'skill_dynamics.warm_start_m' of one number: all "
                "directions are alike"
            )

    def _check_axes(self) -> None:
        """Check what a q that is linear in the heading frame needs. Raises: ConfigError."""
        prior, dim = self.skill_prior, self.skill_prior.dim
        if prior.kind == "discrete" or dim > 3 or self.prediction.body_fields:
            raise ConfigError(
                "'skill_dynamics.linear' with 'prediction.frame: heading' needs a continuous "
                "'skill_prior.kind', a 'skill_prior.dim' of at most 3 and 'prediction.fields: "
                "[x, y, yaw]': the entries of the skill are forward, left and turn"
            )
        if not all(self.warm_start[:dim]):
            raise ConfigError(
                "'skill_dynamics.linear' with 'prediction.frame: heading' needs a "
                "'skill_dynamics.warm_start_m' above 0 for each entry of the skill, as "
                "[0.5, 0.35, 0.5]: what is wanted of it at least"
            )

    def _check_bins(self) -> None:
        """Check what critics that are distributions need. Raises: ConfigError."""
        bins, (low, high) = self.sac.critic_bins, self.sac.critic_bounds
        if not bins:
            if (low, high) != SacConfig().critic_bounds:
                raise ConfigError("'sac.critic_bounds' needs a 'sac.critic_bins' of at least 2")
            return
        if bins == 1 or low >= high:
            raise ConfigError(
                f"'sac.critic_bins' is {bins}, and 'sac.critic_bounds' is [{low:g}, {high:g}]; "
                "expected at least 2 (or 0: off), and the smaller bound first"
            )
        if max(self.reward.fall_cost) > -low:
            raise ConfigError(
                f"'reward.fall_cost' of {max(self.reward.fall_cost):g} is beyond "
                f"'sac.critic_bounds' [{low:g}, {high:g}], and falls would cost no more than "
                f"{-low:g}; lower it, or lower the first bound"
            )

    def _check_size(self) -> None:
        """Check what takes memory. Raises: ConfigError."""
        q, sac, reward = self.skill_dynamics, self.sac, self.reward
        for name, size, most in (
            ("layers of 'skill_dynamics.hidden'", len(q.hidden), MAX_LAYERS),
            ("layers of 'sac.hidden'", len(sac.hidden), MAX_LAYERS),
            (
                "'skill_dynamics.batch_size' * 'skill_dynamics.gradient_steps'",
                q.batch_size * q.gradient_steps,
                MAX_ROWS,
            ),
            (
                "'sac.batch_size' * 'sac.gradient_steps'",
                sac.batch_size * sac.gradient_steps,
                MAX_ROWS,
            ),
            (
                "'reward.num_alt_skills' * 'skill_dynamics.num_experts'",
                reward.num_alt_skills * q.num_experts,
                MAX_ALTERNATIVES,
            ),
        ):
            if size > most:
                raise ConfigError(f"{name}: {size}; expected at most {most}, for the memory")

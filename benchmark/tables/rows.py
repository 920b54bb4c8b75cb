"""The tables: who is in them, how they are measured, what they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from baselines.config import GoalSacConfig, MetaConfig, PetsConfig, PetsKind

from dads_ros.config import CostsConfig, PlannerConfig, read_yaml
from dads_ros.files import find_file
from dads_ros.learning.config import RewardConfig, SacConfig
from dads_ros.planning.skill_planner import PAPER_COSTS, PLANNER_PRESETS
from tables.contenders import (
    Baseline,
    Contender,
    Dads,
    GoalSac,
    Meta,
    Pets,
    Shipped,
    Skills,
    Trained,
    Values,
)
from tables.protocols import (
    CircleGoals,
    Coverage,
    Distances,
    FarGoals,
    HeldSkills,
    LearningGoals,
    OwnGoals,
    Protocol,
    RandomGoals,
    WholeReport,
)
from tables.searches import SEARCHES, TEST_SEED, TRAINING_SEED, as_text


@dataclass(frozen=True)
class Column:
    """A figure as it stands in a table."""

    figure: str
    header: str
    format: str = ".3f"


@dataclass(frozen=True, eq=False)
class Row:
    """A contender under its name in a table."""

    name: str
    contender: Contender
    note: str
    """What it is, in a sentence."""
    training: str = ""
    """What ends it, where that is not the control steps of the contender."""


@dataclass(frozen=True, eq=False)
class Table:
    """A comparison."""

    name: str
    title: str
    text: str
    """The protocol for people; where one differs from others' the difference."""
    protocol: Protocol
    columns: Mapping[str, tuple[Column, ...]]
    """By caption; one table in the document for each."""
    rows: tuple[Row, ...]
    published: tuple["Published", ...] = field(default=())

    @property
    def figures(self) -> set[str]:
        """What it shows."""
        return {column.figure for columns in self.columns.values() for column in columns}


@dataclass(frozen=True)
class Published:
    """What others report, in the figures of a table."""

    name: str
    figures: Mapping[str, str]
    """As they report it."""
    source: str
    how: str
    """How it was read, and what differs."""


FIVE_SEEDS, THREE_SEEDS = (0, 1, 2, 3, 4), (0, 1, 2)
NO_SYMMETRIES = {"yaw": False, "body": False}
NO_WARM_START = {"warm_start_steps": 0, "warm_start_m": 0.0}
MOST_PAID = math.log(RewardConfig().num_alt_skills + 1)
"""For a step, by DADS with skills that are continuous."""


def _costs(cap: float) -> Values:
    """The Ant's costs as the same part of the most that a step can be paid, where that is this.

    Those of falls and tilt are 0 in the first half of the run: without a warm start a step is
    paid next to nothing at first, and costs would keep the robot where it is.
    """
    reward = read_yaml(find_file("ant", folder="config/train", suffix=".yaml"))["reward"]
    costs = {name: [round(cap / MOST_PAID * x, 3) for x in both] for name, both in reward.items()}
    return costs | {name: [0.0, costs[name][1]] for name in ("fall_cost", "tilt_cost")}


UNDIRECTED = {
    "symmetry": {"yaw": False},
    "skill_dynamics": {"linear": False, "sigma_m": 0.05, "min_sigma_m": 0.01, **NO_WARM_START},
    "reward": _costs(MOST_PAID),
}
"""Without what needs skills that are directions on the ground; sigma begins as small as the first
displacements."""
HELD = {"skill_switch_probability": [0.0, 0.0], "nearby_skill_fraction": 0.0}
"""One skill per episode, as in the papers."""
DISCRETE = {
    **UNDIRECTED,
    "skill_prior": {"kind": "discrete", "dim": 20},
    "reward": {**_costs(math.log(20)), "motion_cost": [0.0, 0.0]},
    "collect": {**HELD, "zero_skill_fraction": 0.0},
}
"""What a prior without directions, a zero skill and neighbours does not go with."""


def _rival(objective: str, changes: Values, state_fields: Sequence[str] = ("x", "y")) -> Values:
    """Changes for a reward that is not that of DADS, with one skill per episode, as in its paper.

    METRA is paid at most 1 per step; DIAYN as much as DADS.
    """
    said = {"objective": objective, "state_fields": list(state_fields)}
    costs = _costs(1.0) if objective == "metra" else changes["reward"]
    return {
        **changes,
        "skill_dynamics": {**changes["skill_dynamics"], "stretch": 1.0},
        "reward": {**costs, **said},
        "collect": {**changes.get("collect", {}), **HELD},
    }


ANT: Mapping[str, tuple[Skills, str]] = {
    "DADS, shipped bundle": (
        Shipped("ant"),
        "`models/ant`, trained with the settings of its commit; the best of five training seeds "
        "on robots of another seed than the test's, where `refit --skill-part 0.9` was chosen too "
        "([Results](results.md#ant)).",
    ),
    "DADS, continuous": (
        Trained("ant", FIVE_SEEDS),
        "`config/train/ant.yaml` as it is now.",
    ),
    "DADS, 20 discrete skills": (
        Trained("ant", FIVE_SEEDS, DISCRETE),
        "The same with 20 skills instead of a disc, one per episode, and without what needs "
        "directions: yaw symmetry, warm start, a linear q, zero skills. Sigma begins at 0.05 m, "
        "its lower bound at 0.01 m. Costs are the same part of the most that a step can be paid, "
        "log 20 instead of log 101; those of falls and tilt are 0 in the first half of the run.",
    ),
    "DADS, the paper's settings": (
        Trained("ant_paper", THREE_SEEDS),
        "`config/train/ant_paper.yaml`, and the paper's planner for dense costs. Its robot may "
        "use all of gym's torque, of which the others have half, and a fall ends no episode of "
        "training.",
    ),
}
WHOLE_STATE = (
    *("x", "y", "height", "orientation", "linear_velocity", "angular_velocity"),
    *("joint_positions", "joint_velocities"),
)
"""Of the Ant: what its policies see but for the last command, by which skills could be told apart
without any motion."""
RIVALS: Mapping[str, tuple[Skills, str]] = {
    "DIAYN, 20 discrete skills": (
        Trained("ant", FIVE_SEEDS, _rival("diayn", DISCRETE)),
        "The settings of 'DADS, 20 discrete skills', rewarded by DIAYN's discriminator, which "
        "sees x and y since the skill began. The policy itself does not see them. The best "
        "iteration is kept by the same score as with DADS: displacement, prediction error, "
        "falls, also those under skills that change, which it never trained.",
    ),
    "DIAYN, 20 discrete skills, whole state": (
        Trained(
            "ant", FIVE_SEEDS, _rival("diayn", DISCRETE | {"symmetry": NO_SYMMETRIES}, WHOLE_STATE)
        ),
        "The same, without body symmetry; the discriminator sees the body's whole state besides.",
    ),
    "DADS, continuous, without directions": (
        Trained("ant", FIVE_SEEDS, UNDIRECTED),
        "`config/train/ant.yaml` without yaw symmetry, warm start and a linear q. Sigma begins at "
        "0.05 m, its lower bound at 0.01 m; costs of falls and tilt are 0 in the first half "
        "of the run. METRA's rows are to be read beside it.",
    ),
    "METRA, continuous": (
        Trained("ant", FIVE_SEEDS, _rival("metra", UNDIRECTED)),
        "The settings of 'DADS, continuous, without directions', rewarded by METRA, whose phi "
        "sees x and y since the skill began; of skills only the direction counts. One skill per "
        "episode; costs are the same part of the most that a step can be paid, 1 instead of log "
        "101; discount and the choice of the best iteration are those of DADS, with falls under "
        "skills that change, which it never trained. The policy itself sees no x and y.",
    ),
    "METRA, continuous, whole state": (
        Trained(
            "ant",
            FIVE_SEEDS,
            _rival("metra", UNDIRECTED | {"symmetry": NO_SYMMETRIES}, WHOLE_STATE),
        ),
        "The same, without body symmetry; phi sees the body's whole state besides, as in METRA's "
        "own Ant.",
    ),
}
"""Whose reward is not that of DADS, on the same trainer, with the same networks; and DADS with the
settings that METRA needs."""
PLANNER = PlannerConfig(standing_radius_m=0.4)
"""Of all rows but the paper's: today's default, with the standing radius of the first of them."""
PLANNERS = {"DADS, the paper's settings": (PLANNER_PRESETS["paper_dense"], PAPER_COSTS)}
"""With its costs, where it is not the default."""


def _dense(of: Mapping[str, tuple[Skills, str]] = ANT) -> tuple[Row, ...]:
    rows = []
    for name, (skills, note) in of.items():
        planner, costs = PLANNERS.get(name, (PLANNER, CostsConfig()))
        rows.append(Row(name, Dads(skills=skills, planner=planner, costs=costs), note))
    return tuple(rows)


def _sparse() -> tuple[Row, ...]:
    planner = PLANNER_PRESETS["paper_sparse"]
    return tuple(
        Row(
            f"{name}, sparse",
            Dads(skills=skills, planner=planner, costs=PAPER_COSTS, sparse_radius_m=0.5),
            "The same skills, with the paper's planner for sparse costs.",
        )
        for name, (skills, _) in ANT.items()
    )


GOAL_SAC: Mapping[str, tuple[Values, str]] = {
    "ant": (
        {},
        "Trained on goals in [-10, 10]² for 200 steps, as the paper's, in which 44 % of those in "
        "[-15, 15]² lie. It sees all from its heading, so that like 'DADS, continuous' it need "
        "not learn each yaw; the fourfold symmetry of the body it does not know.",
    ),
    "half_cheetah": (
        {"num_env_steps": 1_433_600},
        "Trained on goals within ±10 m of its line for 200 steps, as the paper's, where two in "
        "three of those within ±15 m lie.",
    ),
    "humanoid": (
        {"num_env_steps": 13_516_800, "episode_steps": 400, "learning_starts": 12_800},
        "Trained on goals in [-10, 10]² for 400 steps, the Ant's 10 s, in which 44 % of those in "
        "[-15, 15]² lie. It sees all from its heading, so that it need not learn each yaw; the "
        "mirror symmetry of the body it does not know.",
    ),
}
"""By robot: settings, with as many control steps as its skills have; and what is to be known."""


def _goal_sac(robot: str = "ant", seeds: tuple[int, ...] = FIVE_SEEDS) -> tuple[Row, ...]:
    settings, about = GOAL_SAC[robot]
    rows = []
    for is_sparse in (False, True):
        for her in (False, True):
            reward = "-1, and 0 within 0.5 m of the goal" if is_sparse else "minus the distance, m"
            kind = f"{'sparse' if is_sparse else 'dense'}{', HER' if her else ''}"
            name = f"Goal-conditioned SAC, {kind}"
            search = SEARCHES[name]
            note = (
                f"Of stable-baselines3 (`benchmark/baselines/goal_sac.py`), {search.note}; "
                f"reward {reward}"
                f"{'; four in five goals are places reached later' if her else ''}. {about} One "
                "that falls in training stays there until its episode ends, as in the test. The "
                "last policy counts, of DADS the best evaluated."
            )
            chosen = settings | (search.best or {})
            config = GoalSacConfig(robot=robot, sparse=is_sparse, her=her, **chosen)
            rows.append(Row(name, GoalSac(config, seeds), note))
    return tuple(rows)


PETS_KINDS: Mapping[PetsKind, str] = {
    "random": "it learns from random commands",
    "weak_oracle": "it learns from its own plans to goals drawn like the test's for each episode, "
    "again and again as data grows",
    "strong_oracle": "it learns from its own plans to one goal of the test, another for each "
    "training seed, and goes to that one alone",
}
ANT_MINUTES = 15.0
"""Of one core, as training and refit of an Ant (docs/results.md)."""


def _pets(*kinds: PetsKind) -> tuple[Row, ...]:
    rows = []
    for minutes in (None, ANT_MINUTES):
        for kind in kinds:
            name, ends = f"PETS, {kind.replace('_', ' ')}", ""
            search = SEARCHES["PETS, weak oracle" if kind == "strong_oracle" else name]
            config = PetsConfig(robot="ant", kind=kind, max_minutes=minutes, **(search.best or {}))
            note = (
                f"`benchmark/baselines/pets.py`: {PETS_KINDS[kind]}. Three networks of "
                f"2 x 400, MPPI over {config.planning_horizon} steps with {config.num_samples} "
                "candidates of three particles: 8.5 ms of one core for each robot and step, so "
                "that 400 steps of 256 robots take a quarter of an hour. The authors' own search "
                "is far wider: five rounds of 500 candidates for their Half-Cheetah "
                "([settings](https://github.com/kchua/handful-of-trials/blob/master/dmbrl/config/"
                f"halfcheetah.py)); here, {search.note}. The cost is the distance from the goal; "
                "a particle that falls stays there; in training a fall ends the episode. It sees "
                "the axes of the world and must learn each yaw."
            )
            if minutes is not None:
                name, ends = f"{name}, {minutes:g} minutes", f"at most {minutes:g} min of a core"
            rows.append(Row(name, Pets(config, THREE_SEEDS), note, ends))
    return tuple(rows)


def _searches() -> tuple[Row, ...]:
    rows = []
    for row in (*_goal_sac(), *_pets("random", "weak_oracle")):
        for pair in SEARCHES[row.name].pairs if row.name in SEARCHES else ():
            assert isinstance(row.contender, Baseline)
            tried = row.contender.tried(pair, TRAINING_SEED)
            rows.append(Row(f"{row.name}: {as_text(pair)}", tried, f"`{as_text(pair)}`."))
    return tuple(rows)


def _hierarchies() -> tuple[Row, ...]:
    names = ("DADS, shipped bundle", "DADS, continuous", "DADS, 20 discrete skills")
    planned = _dense({name: ANT[name] for name in names})
    learned: Mapping[str, tuple[Skills, str]] = {
        "SAC over the skills of the shipped bundle": (Shipped("ant"), names[0]),
        "SAC over the skills of 'DADS, continuous'": (Trained("ant", THREE_SEEDS), names[1]),
        "PPO over the skills of 'DADS, 20 discrete skills'": (
            Trained("ant", THREE_SEEDS, DISCRETE),
            names[2],
        ),
        "PPO over the skills of 'DIAYN, 20 discrete skills'": (
            Trained("ant", THREE_SEEDS, _rival("diayn", DISCRETE)),
            "DIAYN, 20 discrete skills",
        ),
    }
    return (
        *planned,
        *(
            Row(
                name,
                Meta(skills),
                f"{name[:3]} of stable-baselines3 (`benchmark/baselines/meta.py`) picks one of "
                f"the skills of '{of}' every 10 steps, in mean action; settings hardly tuned. "
                "Minutes are without the skills'.",
            )
            for name, (skills, of) in learned.items()
        ),
    )


ABLATIONS: Mapping[str, Values] = {
    "as shipped": {},
    "the actor from every batch": {"sac": {"actor_period": 1}, "num_iterations": 870},
    "discount 0.99": {"sac": {"discount": 0.99}},
    "without fall cost": {"reward": {"fall_cost": [0.0, 0.0]}},
    "the last fall cost from the start": {"reward": {"fall_cost": [300.0, 300.0]}},
    "without tilt cost": {"reward": {"tilt_cost": [0.0, 0.0]}},
    "without zero skills": {
        "collect": {"zero_skill_fraction": 0.0},
        "reward": {"motion_cost": [0.0, 0.0]},
    },
    "without pushes": {"collect": {"push_mps": [0.0, 0.0]}},
    "new skills anywhere": {"collect": {"nearby_skill_fraction": 0.0}},
    "one skill per episode": {"collect": {"skill_switch_probability": [0.0, 0.0]}},
    "without yaw symmetry": {"symmetry": {"yaw": False}},
    "without body symmetry": {"symmetry": {"body": False}},
    "with mirror symmetry": {"symmetry": {"mirror": True}},
    "without symmetries": {"symmetry": NO_SYMMETRIES},
    "without warm start": {"skill_dynamics": NO_WARM_START},
    "one step instead of k": {
        "prediction": {"steps": 1},
        "skill_dynamics": {"sigma_m": 0.04, "min_sigma_m": 0.03, "warm_start_m": 0.06},
    },
    "q of the reward not linear": {"skill_dynamics": {"linear": False}},
    "fixed sigma": {"skill_dynamics": {"sigma_ratio": 0.0, "final_sigma_factor": 1.0}},
}
"""What differs from the Ant's settings. The actor from every batch has the same time: an iteration
takes 1.15 times as long (2.07 instead of 2.37 a second, side by side, each on one core). What is
meant per prediction goes with its length."""


HALF = 3200
"""Iterations, of the Humanoid's 6400."""
HUMANOID_ABLATIONS: Mapping[str, Values] = {
    "as shipped": {"num_iterations": HALF},
    "100 bins": {"sac": {"critic_bins": 100}, "num_iterations": 4000},
    "critics that learn by squared error": {
        "sac": {"critic_bins": 0, "critic_bounds": list(SacConfig().critic_bounds)},
        "num_iterations": 3 * HALF // 2,
    },
    "short skills as the prior draws them": {
        "collect": {"short_skill_fraction": 0.0},
        "num_iterations": HALF,
    },
}
"""What differs from the Humanoid's settings. Critics with fewer bins, or none, have the same time:
without, an iteration takes two thirds of it (1.53 instead of 1.03 a second, side by side, each on
one core); with 100, an update takes 1.2 times as long as without, and 1.6 times with 300."""


def _ablations(robot: str, ablations: Mapping[str, Values]) -> tuple[Row, ...]:
    rows = []
    for name, changes in ablations.items():
        said = yaml.safe_dump(changes, default_flow_style=True, width=1000).strip()[1:-1]
        note = f"`{said}`." if said else f"`config/train/{robot}.yaml`."
        dads = Dads(skills=Trained(robot, THREE_SEEDS, changes), planner=PLANNER)
        rows.append(Row(name, dads, note))
    return tuple(rows)


def _other(robot: str, seeds: tuple[int, ...], how: str) -> tuple[Row, ...]:
    note = f"`models/{robot}`, {how}."
    shipped = Row("DADS, shipped bundle", Dads(skills=Shipped(robot), planner=PLANNER), note)
    trained = Dads(skills=Trained(robot, seeds), planner=PLANNER)
    note = f"`config/train/{robot}.yaml` as it is now."
    return shipped, Row("DADS, continuous", trained, note), *_goal_sac(robot, seeds)


def _by_distance(figure: str) -> tuple[Column, ...]:
    fall = Column("fall_fraction", "falls", ".1%")
    distances = (5, 10, 15, 20, 25, 30)
    return (*(Column(f"{figure}_{each}m", f"{each} m") for each in distances), fall)


def _by_samples(figure: str, form: str = ".3f") -> tuple[Column, ...]:
    return tuple(
        Column(f"{figure}_{samples}", f"{samples:,} samples", form)
        for samples in LearningGoals().samples
    )


def _by_moment(figure: str, form: str = ".3f") -> tuple[Column, ...]:
    return tuple(
        Column(figure.format(steps), f"{steps} steps", form) for steps in HeldSkills().moments
    )


GOALS = (
    Column("normalised_distance_200", "Δ, 200 steps"),
    Column("normalised_distance_400", "Δ, 400 steps"),
    Column("goal_fraction_05m", "within 0.5 m at the end"),
    Column("fall_fraction", "falls", ".1%"),
)
SKILLS = (
    Column("sectors_3m", "sectors of 12", ".0f"),
    Column("mean_displacement_m", "displacement, m", ".1f"),
    Column("skill_fall_fraction", "falls", ".1%"),
    Column("prediction_error", "prediction error", ".2f"),
    Column("switch_prediction_error", "after a change of skill", ".2f"),
)
DELTA = (
    "Δ is the paper's measure: the mean over the steps of the distance to the goal, divided by "
    "the goal's distance from the start; less is better, and standing still is 1."
)
TABLES = (
    Table(
        "goals",
        "Ant: random goals",
        "The protocol of the paper's figure 7: goals uniform in [-15, 15]², after 200 and after "
        f"400 steps of 0.05 s. {DELTA} 256 goals.",
        RandomGoals(),
        {"": GOALS},
        (*_dense(), *_goal_sac(), *_pets("random", "weak_oracle")),
    ),
    Table(
        "own_goals",
        "Ant: a goal that was learned",
        "The strong oracle of the paper's figure 7: a model of the robot that was learned on the "
        f"way to the goal of the test. Its training seeds have the first {OwnGoals().first} of "
        f"the goals above, one each; planning over skills goes to all of them. {DELTA} "
        f"{OwnGoals().starts} starts for each goal.",
        OwnGoals(),
        {"": GOALS},
        (*_dense({name: ANT[name] for name in list(ANT)[:2]}), *_pets("strong_oracle")),
    ),
    Table(
        "distances",
        "Ant: goals ever farther away",
        "64 goals in random directions at each distance, 400 steps. Dense: planned for the "
        "distance from the goal. Sparse: planned for the time within 0.5 m of it and for nothing "
        "else, with the paper's planner for that (4 skills of 25 steps, 200 candidates): a goal "
        "that no candidate comes to gives it nothing to choose by, and the robot stands. (The "
        "cost of falls is off there: beside a goal that tells nothing it would decide alone.)",
        Distances(),
        {
            "Δ over 400 steps": _by_distance("normalised_distance"),
            "Goals within 0.5 m at the end": _by_distance("goal_fraction_05m"),
        },
        (*_dense(), *_sparse(), *_goal_sac()),
    ),
    Table(
        "circle",
        "Ant: goals on a circle of 10 m (JaxGCRL)",
        "The protocol of the `ant` of [JaxGCRL](https://github.com/MichalBortkiewicz/JaxGCRL) "
        "(`jaxgcrl/envs/ant.py`, commit 6dccab2): a goal on a circle of 10 m, near is within 0.5 "
        "m, 1000 steps of 0.05 s. There the body is simulated by Brax, starts upright at one yaw, "
        "and an episode ends when the torso is lower than 0.2 m or higher than 1 m; here the body "
        "is MuJoCo's, starts at any yaw, and a fall is a torso that leans by more than 66 "
        "degrees. Its two figures are "
        "`episode_success_any`, here 'ever near', and `episode_success`, the steps near the goal, "
        "here as a part of the 1000. 256 goals.",
        CircleGoals(),
        {
            "": (
                Column("ever_fraction", "ever near"),
                Column("time_fraction", "time near"),
                Column("end_fraction", "near at the end"),
                Column("fall_fraction", "falls", ".1%"),
            )
        },
        (*_dense(), *_goal_sac()),
    ),
    Table(
        "far",
        "Ant: goals in ±50 m (METRA, CSF)",
        "The protocol of the code of "
        "[CSF](https://github.com/Princeton-RL/contrastive-successor-features) (`iod/metra.py` "
        "and `scripts/pretrain/csf/csf_ant.sh`, commit c6b86e5), which compares itself with "
        "METRA: goals uniform in [-50, 50]², 200 steps, a goal is hit when the robot is ever "
        "within 3 m or 1 m of it. There a robot on its back goes on; here a fall ends its way, "
        "and falls are counted. Goals are 38 m away on average, farther than most Ants go in "
        "these 10 s: 1000 steps stand beside. 256 goals.",
        FarGoals(),
        {
            "": (
                Column("hit_3m_200", "hit 3 m, 200 steps"),
                Column("hit_1m_200", "hit 1 m, 200 steps"),
                Column("fall_fraction_200", "falls, 200 steps", ".1%"),
                Column("hit_3m_1000", "hit 3 m, 1000 steps"),
                Column("hit_1m_1000", "hit 1 m, 1000 steps"),
                Column("fall_fraction_1000", "falls, 1000 steps", ".1%"),
            )
        },
        _dense(),
    ),
    Table(
        "coverage",
        "Ant: squares covered (METRA)",
        "The protocol of [METRA](https://github.com/seohongpark/METRA) (`iod/metra.py`, commit "
        "e08e762): 48 skills held for 200 steps, mean action; squares of 1 m that their tracks "
        "touch. METRA's skills all have length 1, so ours are measured as drawn from their prior, "
        "in which most are shorter, and stretched to the longest of the same direction. There a "
        "robot on its back goes on; here it stays where it fell. Nothing is planned. METRA's Ant "
        "is gym's, ours may use half of its torque, for commands that a planner can rely on: it "
        "leads less far in 200 steps, and covers less.",
        Coverage(),
        {
            "": (
                Column("squares_drawn", "squares, drawn skills", ".0f"),
                Column("displacement_drawn_m", "displacement, m", ".1f"),
                Column("fall_fraction_drawn", "falls", ".1%"),
                Column("squares_longest", "squares, longest skills", ".0f"),
                Column("displacement_longest_m", "displacement, m", ".1f"),
                Column("fall_fraction_longest", "falls", ".1%"),
            )
        },
        (*_dense(), *_dense(RIVALS)),
        (
            Published(
                "METRA",
                {"squares_longest": "about 2000"},
                "https://arxiv.org/abs/2310.08887",
                "read off its plot of state coverage, at 10 million control steps; another Ant "
                "(gym's), and falls are not reported",
            ),
        ),
    ),
    Table(
        "skills",
        "Ant: skills that are held",
        "16 skills that cover the prior evenly, or all of a discrete one, each held from 16 "
        "starts at random yaws, mean action; nothing is planned. Spread is how far the robots of "
        "one skill end from their mean place (root mean square), error how far from where the "
        "skill dynamics said at the start; both as parts of the mean displacement. The skill "
        "dynamics is refitted to the mean action where training says so, for rivals too, but not "
        "with the paper's settings.",
        HeldSkills(),
        {
            "Displacement, m": _by_moment("displacement_{}_m", ".1f"),
            "Spread": _by_moment("spread_{}"),
            "Prediction error": _by_moment("prediction_error_{}"),
            "Falls": _by_moment("fall_fraction_{}", ".1%"),
        },
        (*_dense(), *_dense(RIVALS)),
    ),
    Table(
        "hierarchies",
        "Ant: skills picked by planning, and by learning to",
        "The protocol of the paper's figure 8: a meta-controller over skills is trained from "
        "scratch for each of 16 goals, drawn from [-15, 15]², on that goal alone, paid minus the "
        "distance from it; samples are control steps of the robot for one goal. One that falls in "
        "training stays there until its episode ends, as in the test. Planning over the same "
        "skills needs no sample of the goal, is the same after any number, and picks anew every "
        f"{PLANNER.skill_duration_steps} control steps; a meta-controller, like the "
        f"paper's, every {MetaConfig.skill_steps}. 'Training' has the samples for "
        f"all goals with those of the skills. {DELTA} 16 goals, 16 starts for each, 200 steps.",
        LearningGoals(),
        {
            "Δ over 200 steps": _by_samples("normalised_distance"),
            "Falls": _by_samples("fall_fraction", ".1%"),
        },
        _hierarchies(),
    ),
    Table(
        "ablations",
        "Ant: what each setting is worth",
        "The Ant's settings with one changed at a time, planned with as always. All have the same "
        "number of updates, but 'the actor from every batch': it has the same time. Goals and "
        "tasks are those of `dads-ros evaluate`: 128 goals in [-15, 15]², 128 robots for each "
        "task.",
        WholeReport(),
        {
            "Skills": SKILLS,
            "Goals and tasks": (
                Column("goal_fraction_05m", "goals within 0.5 m"),
                Column("waypoints.fall_fraction", "falls on waypoints", ".1%"),
                Column("velocity.velocity_error", "velocity error", ".2f"),
                Column("velocity.fall_fraction", "falls at velocities", ".1%"),
                Column("stand.stand_drift_m", "standing drift, m"),
                Column("stand.stand_fall_fraction", "falls standing", ".1%"),
            ),
        },
        _ablations("ant", ABLATIONS),
    ),
    Table(
        "searches",
        "Ant: searches",
        "What was tried of two settings of each rival that learns to go to goals, with one "
        f"training seed, {TRAINING_SEED}, which no other table has, and as many control steps as "
        "its rows, on other goals than theirs, and fewer. Rows have the pair with the least Δ "
        "over 400 steps. The settings of DADS were found by hand in far more runs "
        "([Results](results.md)).",
        RandomGoals(seed=TEST_SEED, num=128),
        {"": GOALS},
        _searches(),
    ),
    Table(
        "half_cheetah",
        "Half-Cheetah: random goals",
        f"Goals uniform in ±15 m on its line, at least 1 m away, 400 steps of 0.05 s. {DELTA} 256 "
        "goals.",
        RandomGoals(),
        {"": GOALS},
        _other(
            "half_cheetah",
            FIVE_SEEDS,
            "the best of five training seeds on robots of another seed than the test's, where "
            "`refit --skill-part 0.9` was chosen too",
        ),
    ),
    Table(
        "humanoid",
        "Humanoid: random goals",
        "Goals uniform in [-15, 15]², 1000 steps of 0.025 s, for it is slow; the two Δ are over "
        f"the first 200 and 400. {DELTA} 128 goals.",
        RandomGoals(num=128, steps=1000),
        {"": GOALS},
        _other(
            "humanoid",
            THREE_SEEDS,
            "the run of seed 0 of the same file, with `refit --skill-part 0.9` "
            "([Results](results.md#humanoid))",
        ),
    ),
    Table(
        "humanoid_ablations",
        "Humanoid: what its own settings are worth",
        "The Humanoid's settings with one changed at a time, each in the time of half of the "
        "shipped one's iterations, planned with as always. Goals and tasks are those of `dads-ros "
        "evaluate`: 128 goals in [-15, 15]², 800 steps; 128 robots for each task.",
        WholeReport(tasks=("waypoints", "stand")),
        {
            "Skills": SKILLS,
            "Goals and tasks": (
                *GOALS[2:],
                Column("waypoints.fall_fraction", "falls on waypoints", ".1%"),
                Column("stand.stand_drift_m", "standing drift, m"),
                Column("stand.stand_fall_fraction", "falls standing", ".1%"),
            ),
        },
        _ablations("humanoid", HUMANOID_ABLATIONS),
    ),
)

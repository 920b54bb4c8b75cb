"""What decides about commands, with a clock that the test turns: races are steps in order here."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import ControlConfig, PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.observation import RobotState
from dads_ros.planning.controller import (
    BY_HAND,
    ERROR,
    JUMP_STATES,
    LOOKING,
    OK,
    REST_TIMEOUT_S,
    WARN,
    Errand,
    SkillController,
    Step,
    make_loop,
)
from dads_ros.planning.costs import Candidates, PathCost
from dads_ros.planning.goal_watch import GoalWatch
from dads_ros.planning.tasks import Task

STEP_NS = 100_000_000
FAR = np.array([[40.0, 0.0]])
PLANNER = PlannerConfig(planning_horizon=2, skill_duration_steps=4, skill_range=1.0)


def state_at(x: float = 0.0, num: int = 1) -> RobotState:
    return RobotState(
        position=np.tile([x, 0.0, 0.0], (num, 1)),
        orientation=np.tile([1.0, 0.0, 0.0, 0.0], (num, 1)),
        linear_velocity=np.zeros((num, 3)),
        angular_velocity=np.zeros((num, 3)),
        joint_positions=np.zeros((num, 0)),
        joint_velocities=np.zeros((num, 0)),
    )


class Bench:
    """A controller of a point mass, its clock, and what it said."""

    def __init__(self, folder: Path, num: int = 1, **settings: object) -> None:
        self.now, self.stamp_ns, self.said, self.told = 100.0, 0, [], []
        self.bundle = SkillBundle(folder)
        self.settings = ControlConfig(**{"planner": PLANNER} | settings)  # type: ignore[arg-type]
        self.num = num
        self.control = self.make(None)
        self.control.activate()

    def make(self, custom: Callable[[Candidates], object] | None) -> SkillController:
        bundle = self.bundle
        loop = make_loop(bundle.robot, bundle.command, bundle, self.settings, 0, self.num)
        return SkillController(
            loop,
            lambda: self.settings,
            seed=0,
            custom=custom,  # type: ignore[arg-type]
            clock=lambda: self.now,
            say=self.said.append,
            tell=self.told.append,
        )

    def tick(self, state: RobotState | None = None, age_s: float = 0.0) -> Step:
        """The next state, a control step later, measured so long ago."""
        self.now += 0.1
        self.stamp_ns += STEP_NS
        state = state_at(num=self.num) if state is None else state
        step = self.control.step(state, self.stamp_ns, self.now - age_s)
        assert step is not None
        return step

    def go(self, goals: np.ndarray = FAR) -> Errand:
        errand = Errand(Task(goals=np.tile(goals, (self.num, 1))), received=self.now)
        self.control.turn_to(errand)
        return errand

    def is_driving(self, step: Step) -> bool:
        return bool((np.abs(step.result.command).max(axis=1) > 0.5).all())


@pytest.fixture
def bench(point_mass_bundle: Path) -> Bench:
    return Bench(point_mass_bundle)


def test_it_stands_without_a_task_and_drives_once_a_plan_is_handed_over(bench: Bench) -> None:
    assert bench.tick().result.command.tolist() == [[0.0, 0.0]]
    assert bench.control.status()[:2] == (OK, "no task: standing command")
    bench.go()
    step = bench.tick()
    assert step.request is not None and not bench.is_driving(step)
    assert step.skill is None
    plan = bench.control.plan(step.request)
    assert plan is not None
    step = bench.tick()
    assert bench.is_driving(step)
    assert step.skill is not None and step.skill.tolist() == plan.skill.tolist()
    assert bench.control.status()[:2] == (OK, "on the way")


def test_in_lock_step_the_plan_is_made_within_the_step(point_mass_bundle: Path) -> None:
    bench = Bench(point_mass_bundle, lock_step=True)
    bench.go()
    step = bench.tick()
    assert bench.is_driving(step) and step.plan is not None  # to be shown after the command
    assert bench.tick().plan is None


@pytest.mark.parametrize(
    "change", ["errand", "none", "bundle", "settings", "stamps", "activation"]
)
def test_a_plan_for_what_has_changed_meanwhile_is_dropped(bench: Bench, change: str) -> None:
    """The race between the planning thread and everything that a user may do meanwhile."""
    bench.go()
    request = bench.tick().request
    assert request is not None
    control = bench.control
    if change == "errand":
        bench.go(np.array([[-40.0, 0.0]]))
    elif change == "none":
        control.turn_to(None)
    elif change == "bundle":
        loop = make_loop(
            bench.bundle.robot, bench.bundle.command, bench.bundle, bench.settings, 1, 1
        )
        control.take(loop)
    elif change == "settings":
        planner = dataclasses.replace(PLANNER, num_samples=8)
        bench.settings = dataclasses.replace(bench.settings, planner=planner)
        bench.tick()
    elif change == "stamps":
        bench.stamp_ns = -100 * STEP_NS
        assert [control.step(state_at(), n) for n in (-9, -8)] == [None, None]
        control.step(state_at(), -7)
    else:
        control.deactivate()
        control.activate()
    assert control.plan(request) is None
    assert control.loop.skill is None and control.plan_error == ""


def test_a_plan_that_fails_for_a_dropped_task_stops_nobody(bench: Bench) -> None:
    bench.control = bench.make(lambda plans: [][0])  # type: ignore[index]
    bench.control.activate()
    bench.go()
    request = bench.tick().request
    bench.control.turn_to(None)
    assert request is not None and bench.control.plan(request) is None
    assert bench.tick().result.reason == ""


def test_a_cost_that_raises_is_named_and_the_robot_stands_until_a_plan_is_made(
    bench: Bench,
) -> None:
    costs = dataclasses.replace(bench.settings.costs, custom="mine:Far")
    bench.settings = dataclasses.replace(bench.settings, costs=costs)
    fails = [True]

    def custom(plans: Candidates) -> np.ndarray:
        if fails[0]:
            raise RuntimeError("lost")
        return np.zeros(plans.skills.shape[:2])

    bench.control = bench.make(custom)
    bench.control.activate()
    bench.go()
    for _ in range(2):
        while (request := bench.tick().request) is None:
            pass
        assert bench.control.plan(request) is None
    step = bench.tick()
    assert not (step.result.reason or bench.is_driving(step)) and step.skill is None
    level, text, _ = bench.control.status()
    assert level == ERROR and "RuntimeError" in text and "mine:Far" in text
    assert bench.said == [text] and text.endswith("standing command")
    bench.told.clear()
    fails[0] = False
    while (request := bench.tick().request) is None:
        pass
    assert bench.control.plan(request) is not None
    assert bench.is_driving(bench.tick())
    assert bench.told == [
        f"a plan is made again; before: {text.removesuffix(': standing command')}"
    ]


def test_what_forbids_every_way_is_named(bench: Bench) -> None:
    costs = dataclasses.replace(bench.settings.costs, custom="mine:Never")
    bench.settings = dataclasses.replace(bench.settings, costs=costs)
    bench.control = bench.make(lambda plans: np.full(plans.skills.shape[:2], np.inf))
    bench.control.activate()
    bench.go()
    request = bench.tick().request
    assert request is not None and bench.control.plan(request) is not None
    bench.tick()
    said = "every way is forbidden (custom: mine:Never): standing command"
    assert bench.control.status()[:2] == (WARN, said)


@pytest.mark.parametrize("way", ["goal", "path"])
@pytest.mark.parametrize(
    ("price", "remark", "said"),
    [
        (0.0, "", "it does not go where its plan leads: look what holds it"),
        (1e3, "", "its plan is to stand: most against moving is the cost 'custom'"),
        (1e3, "the goal is in an obstacle", "the goal is in an obstacle"),
    ],
)
def test_a_robot_that_gets_no_nearer_is_reported_once_with_what_keeps_it(
    bench: Bench, way: str, price: float, remark: str, said: str
) -> None:
    """The last one has come as near as it can."""
    bench.control = bench.make(lambda plans: price * np.abs(plans.skills).sum(axis=(2, 3)))
    bench.control.activate()
    points = np.array([[0.0, 0.0], [20.0, 0.0], [0.2, 0.0]])
    task = Task(goals=FAR) if way == "goal" else Task(path=PathCost(points, cross_track=1.0))
    errand = Errand(task, GoalWatch(FAR[0] if way == "goal" else points[-1]), remark=remark)
    bench.control.turn_to(errand)

    def tick(x: float = 0.0) -> None:
        request = bench.tick(state_at(x)).request
        assert request is None or bench.control.plan(request) is not None

    for _ in range(101):
        assert not bench.said and "no progress" not in bench.control.status()[1]
        tick()
    tick()
    level, text, _ = bench.control.status()
    assert level == WARN and text.startswith("no progress: ") and said in text
    assert [line.split("; ")[1] for line in bench.said] == [text.split("; ")[1]]
    tick(0.6)
    assert "no progress" not in bench.control.status()[1]


def test_a_robot_that_is_held_for_another_reason_makes_no_false_alarm(bench: Bench) -> None:
    """Plans that fail, forbid or are late, and robots that get their safe command."""
    costs = [np.nan]
    bench.control = bench.make(lambda plans: np.full(plans.skills.shape[:2], costs[0]))
    bench.control.activate()
    bench.control.turn_to(Errand(Task(goals=FAR), GoalWatch(FAR[0])))
    for price, seconds in ((np.nan, 12), (np.inf, 12), (0.0, 0)):
        costs[0] = price
        for _ in range(10 * seconds + 9):
            request = bench.tick().request
            assert request is None or (bench.control.plan(request) is None) == np.isnan(price)
    for _ in range(120):
        bench.tick()  # nobody plans
    assert bench.control.status()[1] == "the plan is late: standing command"
    while (request := bench.tick().request) is None:
        pass
    bench.control.plan(request)
    bench.control.object("rivals", "somebody else drives")
    for _ in range(120):
        request = bench.tick().request
        assert request is None or bench.control.plan(request) is not None
    assert not [text for text in bench.said if "no progress" in text]


def test_a_way_to_the_same_place_that_is_sent_anew_hides_no_stall(bench: Bench) -> None:
    request = None
    for number in range(120):
        if number % 10 == 0:
            path = PathCost(np.array([[0.01 * number, 0.0], [40.0, 0.0]]), cross_track=1.0)
            bench.control.turn_to(Errand(Task(path=path), GoalWatch(FAR[0])))
        request = bench.tick().request
        assert request is None or bench.control.plan(request) is not None
    assert "no progress" in bench.control.status()[1]
    bench.control.turn_to(Errand(Task(goals=-FAR), GoalWatch(-FAR[0])))
    bench.tick()
    assert "no progress" not in bench.control.status()[1]


def test_a_task_of_no_cost_is_planned(bench: Bench) -> None:
    costs = dataclasses.replace(bench.settings.costs, goal=0.0, bounds=0.0)
    bench.settings = dataclasses.replace(bench.settings, costs=costs)
    bench.go()
    request = bench.tick().request
    assert request is not None and bench.control.plan(request) is not None


def test_robots_stand_no_farther_from_the_goal_than_its_tolerance(bench: Bench) -> None:
    bench.settings = dataclasses.replace(bench.settings, goal_tolerance_m=0.1)
    assert bench.settings.planner.standing_radius_m > 0.2
    bench.go(np.array([[0.2, 0.0]]))
    request = bench.tick().request
    assert request is not None
    plan = bench.control.plan(request)
    assert plan is not None and not plan.stands.any()


def driving(bench: Bench) -> Bench:
    """On its way to a far goal."""
    bench.go()
    request = bench.tick().request
    assert request is not None and bench.control.plan(request) is not None
    assert bench.is_driving(bench.tick())
    return bench


def test_no_old_state_is_answered(bench: Bench) -> None:
    driving(bench)
    step = bench.tick(age_s=0.51)
    assert not step.is_answer and step.result.command.tolist() == [[0.0, 0.0]]
    assert "the state is 0.51 s old" in step.result.reason
    assert bench.control.status()[2]["old states refused"] == 1
    assert not bench.is_driving(bench.tick(age_s=float("nan")))
    assert bench.is_driving(bench.tick(age_s=0.49))


def test_what_happens_between_measuring_and_commanding_counts_as_age(
    point_mass_bundle: Path,
) -> None:
    bench = driving(Bench(point_mass_bundle))
    policy = bench.control.loop._policy

    def stalls(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        bench.now += 0.3
        return policy(obs, skill)

    bench.control.loop._policy = stalls
    assert bench.is_driving(bench.tick(age_s=0.1))
    step = bench.tick(age_s=0.3)
    assert "no state for 0.60 s" in step.result.reason and not bench.is_driving(step)


def test_a_robot_that_stands_goes_on_standing_when_planning_starts_anew(
    point_mass_bundle: Path,
) -> None:
    bench = Bench(point_mass_bundle)
    bench.bundle.manifest.robot.__dict__["standing_command"] = (0.25, -0.5)
    errand = Errand(Task(goals=np.array([[0.0, 0.0]])), received=bench.now)
    bench.control.turn_to(errand)
    request = bench.tick().request
    assert request is not None and bench.control.plan(request) is not None
    assert bench.tick().result.command.tolist() == [[0.25, -0.5]]
    planner = dataclasses.replace(PLANNER, num_samples=8)
    bench.settings = dataclasses.replace(bench.settings, planner=planner)
    assert bench.tick().result.command.tolist() == [[0.25, -0.5]]


def test_old_states_do_not_put_the_watchdog_to_sleep(bench: Bench) -> None:
    driving(bench)
    for _ in range(6):
        bench.tick(age_s=5.0)
    result = bench.control.check_age()
    assert result is not None and "no state for 0.6" in result.reason


def test_silence_is_answered_with_the_safe_command_once_it_has_lasted(bench: Bench) -> None:
    driving(bench)
    bench.now += 0.49
    assert bench.control.check_age() is None
    bench.now += 0.02
    result = bench.control.check_age()
    assert result is not None and result.is_safe_stop.all() and "no state for" in result.reason
    assert bench.control.status()[0] == ERROR
    assert bench.is_driving(bench.tick())


def test_silence_because_of_states_that_cannot_be_used_says_what_is_wrong_with_them(
    bench: Bench,
) -> None:
    driving(bench)
    for _ in range(6):
        bench.now += 0.1
        bench.control.fail("joint_states names 'hip_1' twice")
    result = bench.control.check_age()
    assert result is not None and "twice" in result.reason
    bench.now += 1.0
    result = bench.control.check_age()
    assert result is not None and "no state for" in result.reason


def test_states_of_one_stamp_are_named_as_what_is_wrong(bench: Bench) -> None:
    driving(bench)
    for _ in range(6):
        bench.now += 0.1
        assert bench.control.step(state_at(), bench.stamp_ns) is None
    result = bench.control.check_age()
    assert result is not None and result.is_safe_stop.all()
    assert "no state for 0.60 s, only 6 that have the stamp of the last one" in result.reason
    assert bench.is_driving(bench.tick())
    bench.now += 0.6
    result = bench.control.check_age()
    assert result is not None and "stamp" not in result.reason


def test_numbers_that_are_not_finite_are_named(bench: Bench) -> None:
    state = dataclasses.replace(
        state_at(),
        position=np.array([[0.0, np.nan, 0.0]]),
        joint_velocities=np.array([[0.0, np.inf, np.nan]]),
    )
    said = "joint_velocities of knee, ankle"
    robot = dataclasses.replace(bench.bundle.robot, joints=("hip", "knee", "ankle"))
    assert state[0].what_is_not_finite(robot) == f"position; {said}"
    bench.tick()
    step = bench.tick(dataclasses.replace(state, joint_velocities=np.zeros((1, 0))))
    assert step.result.reason == "the state is not finite: position"


def test_in_lock_step_no_state_ages(point_mass_bundle: Path) -> None:
    bench = Bench(point_mass_bundle, lock_step=True)
    bench.go()
    bench.tick()
    bench.now += 100.0
    assert bench.control.check_age() is None
    assert bench.is_driving(bench.tick(age_s=100.0))  # the simulator has waited


def test_late_and_swapped_states_are_dropped_and_counted(bench: Bench) -> None:
    driving(bench)
    skill = bench.control.loop.skill
    for offset in (-1, -3, -2):  # late; late again; the last two in their order
        assert bench.control.step(state_at(), bench.stamp_ns + offset * STEP_NS) is None
        assert bench.is_driving(bench.tick())
    assert bench.control.step(state_at(), bench.stamp_ns) is None  # twice the same
    assert bench.control.loop.skill is skill
    much_later = bench.control.step(state_at(), bench.stamp_ns - 9 * STEP_NS, bench.now - 0.9)
    assert much_later is None and bench.is_driving(bench.tick())  # older than any that may drive
    assert bench.control.status()[2]["late states dropped"] == 4
    assert not bench.said


def test_a_real_jump_back_starts_anew_once_and_keeps_the_task(bench: Bench) -> None:
    errand = driving(bench).control.errand
    answers = []
    for number in range(7):
        bench.now += 0.1
        answers.append(bench.control.step(state_at(), (number - 100) * STEP_NS))
    assert [answer is None for answer in answers[:JUMP_STATES]] == [True, True, False]
    assert all(answer is not None for answer in answers[JUMP_STATES:])
    assert len([text for text in bench.said if "went back" in text]) == 1
    assert bench.control.errand is errand
    assert answers[JUMP_STATES - 1].request is not None


def test_after_a_jump_back_to_old_states_the_first_fresh_one_starts_anew(bench: Bench) -> None:
    driving(bench)
    for number in range(2 * JUMP_STATES):
        bench.now += 0.1
        step = bench.control.step(state_at(), (number - 100) * STEP_NS, bench.now - 5.0)
    assert step is not None and "5.00 s old" in step.result.reason
    assert not any("went back" in text for text in bench.said)
    bench.stamp_ns = -50 * STEP_NS
    assert bench.tick().request is not None
    assert len([text for text in bench.said if "went back" in text]) == 1


def test_old_states_in_a_row_are_no_jump_once_newer_ones_come(bench: Bench) -> None:
    skill = driving(bench).control.loop.skill
    for number in range(JUMP_STATES):
        bench.control.step(state_at(), bench.stamp_ns + (number - 9) * STEP_NS, bench.now - 0.9)
    assert bench.is_driving(bench.tick())
    assert bench.control.loop.skill is skill
    assert not any("went back" in text for text in bench.said)


def test_the_time_before_the_first_step_is_no_loop_period(bench: Bench) -> None:
    bench.go()
    bench.tick(age_s=0.9)
    for _ in range(3):
        bench.tick()
    periods = [v for k, v in bench.control.status()[2].items() if k.startswith("loop period")]
    assert periods and max(periods) < 150.0


def test_after_a_safe_command_a_robot_stands_at_once(point_mass_bundle: Path) -> None:
    bench = Bench(point_mass_bundle)
    bench.bundle.manifest.robot.__dict__["standing_command"] = None
    driving(bench)
    bench.now += 1.0
    assert bench.control.check_age() is not None
    bench.control.turn_to(None)
    bench.tick()
    assert not bench.control.loop.asked_skill.any()


def test_a_single_stamp_from_the_future_costs_no_more_than_a_few_states(bench: Bench) -> None:
    driving(bench)
    bench.control.step(state_at(), 10**18)
    answers = [bench.control.step(state_at(), bench.stamp_ns + n * STEP_NS) for n in range(1, 6)]
    assert [answer is None for answer in answers] == [True, True, False, False, False]


def test_faster_states_are_thinned_but_not_in_lock_step(point_mass_bundle: Path) -> None:
    for lock_step, num_steps in ((False, 20), (True, 200)):
        bench = Bench(point_mass_bundle, lock_step=lock_step)
        answers = []
        for number in range(200):
            bench.now += 0.01
            answers.append(bench.control.step(state_at(), number * STEP_NS // 10))
        assert sum(answer is not None for answer in answers) == num_steps
        values = bench.control.status()[2]
        assert values["states between control steps"] == 200 - num_steps
        assert values["rate of states, Hz"] == 100.0
        assert values["rate of control steps, Hz"] == 10.0
        assert lock_step or values["loop period p99, ms"] == pytest.approx(100.0)


def test_slow_states_are_named_and_much_slower_ones_stop_the_robot(bench: Bench) -> None:
    driving(bench)

    def tick(steps: int) -> Step:
        bench.now += 0.1 * (steps - 1)
        bench.stamp_ns += (steps - 1) * STEP_NS
        step = bench.tick()
        if step.request is not None:
            bench.control.plan(step.request)
        return step

    for _ in range(12):
        step = tick(2)
    assert bench.is_driving(step)
    level, text, _ = bench.control.status()
    assert level == WARN and text.startswith(
        "on the way; states come at 5 Hz, the policy needs 10"
    )
    for _ in range(12):
        step = tick(3)
    assert not bench.is_driving(step) and step.request is None
    assert "states come at 3.33 Hz, the policy needs 10 Hz" in step.result.reason
    assert bench.control.status()[0] == ERROR
    for _ in range(12):
        step = tick(1)
    assert bench.is_driving(step)
    bench.control.activate()
    assert bench.control.status()[2]["rate of states, Hz"] != 10.0  # that was before


def test_a_late_plan_means_standing_until_it_is_there(bench: Bench) -> None:
    driving(bench)
    while (request := bench.tick().request) is None:
        pass
    for _ in range(11):
        step = bench.tick()
    assert not bench.is_driving(step)
    assert bench.control.status()[:2] == (WARN, "the plan is late: standing command")
    assert bench.control.plan(request) is not None
    assert bench.is_driving(bench.tick())


def test_a_standing_objection_stops_the_robot_until_it_is_withdrawn(bench: Bench) -> None:
    driving(bench)
    bench.control.object("rivals", "another one drives")
    step = bench.tick()
    assert step.result.reason == "another one drives" and not bench.is_driving(step)
    assert step.skill is None
    assert bench.control.status()[1] == "safe command: another one drives"
    bench.control.object("rivals", "")
    assert bench.is_driving(bench.tick())


def test_robots_that_are_let_stand_keep_their_task_and_no_plan_moves_them(bench: Bench) -> None:
    errand = driving(bench).control.errand
    while (request := bench.tick().request) is None:
        pass
    bench.control.let_stand("the guard has ended")
    assert bench.control.plan(request) is None
    for _ in range(21):
        step = bench.tick()
        assert step.result.reason == "" and step.request is None
        assert not bench.is_driving(step)
    assert bench.control.status()[:2] == (ERROR, "the guard has ended: standing command")
    bench.control.let_stand("")
    assert bench.said == ["the guard has ended: standing command"]
    assert bench.control.errand is errand
    assert (request := bench.tick().request) is not None
    assert bench.control.plan(request) is not None
    assert bench.is_driving(bench.tick())


def test_robots_that_got_their_safe_command_are_not_let_stand(bench: Bench) -> None:
    driving(bench)
    bench.control.let_stand("the guard has ended")
    bench.control.object("rivals", "another one drives")
    assert bench.tick().result.reason == "another one drives"
    bench.control.object("rivals", "")
    assert bench.tick().result.reason == "the guard has ended"
    assert bench.tick().result.reason == "the guard has ended"
    bench.control.let_stand("")
    assert bench.tick().result.reason == ""
    bench.control.activate()
    bench.control.let_stand("the guard has ended")
    assert bench.tick().result.reason == "the guard has ended"


def test_one_that_began_to_walk_just_now_is_moving_until_it_had_time_to_stand(
    bench: Bench,
) -> None:
    driving(bench)
    for _ in range(5):
        bench.tick()
    bench.control.turn_to(None)
    for _ in range(3):
        assert bench.control.is_moving
        bench.tick()
    assert not bench.control.is_moving


@pytest.mark.parametrize("what", ["linear_velocity", "angular_velocity"])
def test_it_is_moving_until_every_robot_has_been_slow_for_a_quarter_of_a_second(
    point_mass_bundle: Path, what: str
) -> None:
    bench = Bench(point_mass_bundle, num=2)
    assert not bench.control.is_moving  # nothing was sent yet
    fast = getattr(state := state_at(num=2), what)
    fast[1, 2] = 0.6
    for _ in range(5):
        bench.tick(state)
    assert bench.control.is_moving
    fast[1, 2] = 0.1
    for _ in range(2):
        bench.tick(state)
        assert bench.control.is_moving
    bench.tick(state)
    assert not bench.control.is_moving
    fast[1, 2] = 0.6
    bench.tick(state)
    assert bench.control.is_moving
    bench.now += bench.settings.state_timeout_s + 0.1
    assert not bench.control.is_moving  # nobody knows
    bench.tick(state)
    bench.control.object("rivals", "another one drives")
    bench.tick(state)
    assert not bench.control.is_moving  # it gets the safe command as it is


class Go2s:
    """Go2s of the shipped bundle in the physics, and their controller."""

    def __init__(self, num: int) -> None:
        self.now, bundle = 0.0, SkillBundle(Path("models/go2"))
        model = RobotModel(bundle.robot)
        self.robot = model.spec
        self.env = one_episode_env(model, num, 1000, rng=np.random.default_rng(3))
        config = ControlConfig(lock_step=True)
        loop = make_loop(self.robot, bundle.command, bundle, config, 0, num)
        self.control = SkillController(loop, lambda: config, seed=0, clock=lambda: self.now)
        self.control.activate()

    def tick(self) -> None:
        self.now += self.robot.control_dt
        step = self.control.step(self.env.sensed, round(self.now * 1e9))
        assert step is not None
        self.env.step(step.result.command)


def test_go2s_at_full_speed_that_come_to_a_stand_first_are_left_alone_without_a_fall() -> None:
    """Left alone in mid-stride 14 of 32 tip over (docs/results.md)."""
    go2s = Go2s(10)
    angle = np.linspace(0.0, 2.0 * np.pi, 10, endpoint=False)
    goals = 40.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    go2s.control.turn_to(Errand(Task(goals=goals), received=0.0))
    for _ in range(150):
        go2s.tick()
    assert np.linalg.norm(go2s.env.state.linear_velocity, axis=1).mean() > 0.5
    go2s.control.turn_to(None)
    begin = go2s.now
    while go2s.control.is_moving:
        go2s.tick()
        assert go2s.now - begin < REST_TIMEOUT_S
    left = go2s.control.deactivate()
    assert left is not None
    for _ in range(100):
        go2s.env.step(left.command)
        assert not go2s.env.fallen.any()


def test_go2s_that_lie_with_folded_legs_stand_up_when_they_are_activated() -> None:
    go2s = Go2s(4)
    home, folded = np.array(go2s.robot.safe_command), np.tile([0.0, 1.25, -2.65], 4)
    for part in np.linspace(0.0, 1.0, 100):
        go2s.env.step(np.tile(home + part * (folded - home), (4, 1)))
    assert (go2s.env.state.position[:, 2] < 0.15).all()
    for _ in range(150):
        go2s.tick()
        assert not go2s.env.fallen.any()
    assert (go2s.env.state.position[:, 2] > 0.23).all()
    assert not go2s.control.is_moving


def test_deactivated_it_sends_the_safe_command_and_forgets_the_task(bench: Bench) -> None:
    driving(bench)
    assert bench.control.deactivate().reason == "not active"
    assert bench.control.errand is None
    assert bench.tick().result.command.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("states", [1, 30])
def test_a_robot_that_stays_down_loses_its_task_and_one_wrong_state_takes_none(
    bench: Bench, states: int
) -> None:
    """30 states are longer than one may be old."""
    driving(bench)
    on_its_back = dataclasses.replace(state_at(), orientation=np.array([[0.0, 1.0, 0.0, 0.0]]))
    given_up = [bench.tick(on_its_back).is_given_up for _ in range(states)]
    stays_down = states > 1
    assert sum(given_up) == stays_down and (bench.control.errand is None) == stays_down
    stood_up = bench.tick()
    assert bench.is_driving(stood_up) != stays_down and not stood_up.result.reason


def test_a_velocity_that_nobody_repeats_is_dropped(bench: Bench) -> None:
    bench.control.turn_to(Errand(Task(velocities=np.array([[1.0, 0.0]])), received=bench.now))
    for _ in range(5):
        assert not bench.tick().is_silent
    bench.now += 0.05
    assert bench.tick().is_silent
    assert bench.control.errand is None


def test_a_skill_by_hand_is_held_unplanned_until_nobody_repeats_it(bench: Bench) -> None:
    planner = dataclasses.replace(PLANNER, skill_range=0.5)
    bench.settings = dataclasses.replace(bench.settings, planner=planner)
    bench.tick()  # takes the settings over
    errand = Errand(Task(skill=np.array([[0.2, 0.0]])), received=bench.now)
    bench.control.turn_to(errand)
    step = bench.tick()
    assert step.request is None  # of which nothing would come
    np.testing.assert_allclose(step.result.command, [[0.6, 0.0]], atol=1e-6)
    assert bench.control.status()[:2] == (OK, BY_HAND)
    errand.task.skill = np.array([[0.0, -9.0]])  # brought into skill_range
    assert bench.tick().result.command.tolist() == [[0.0, -1.0]]
    np.testing.assert_allclose(bench.control.loop.skill, [[0.0, -0.5]])
    old = bench.tick(age_s=0.6)  # no command without a fresh state, whoever drives
    assert old.result.command.tolist() == [[0.0, 0.0]] and "0.60 s old" in old.result.reason
    errand.received = bench.now
    for _ in range(4):
        assert not bench.tick().is_silent
    bench.now += 0.1
    silent = bench.tick()
    assert silent.is_silent and silent.result.command.tolist() == [[0.0, 0.0]]
    assert bench.control.errand is None


def test_a_goal_after_a_skill_by_hand_is_planned_anew(bench: Bench) -> None:
    bench.go()
    late = bench.tick().request  # a plan that is still being made
    bench.control.turn_to(Errand(Task(skill=np.array([[0.0, 0.3]])), received=bench.now))
    bench.tick()
    assert late is not None and bench.control.plan(late) is None
    np.testing.assert_allclose(bench.control.loop.skill, [[0.0, 0.3]])
    bench.go()
    step = bench.tick()
    assert step.request is not None and bench.control.plan(step.request) is not None
    assert bench.is_driving(bench.tick())


def test_a_goal_is_reached_once_it_was_held(bench: Bench) -> None:
    errand = bench.go(np.array([[1.0, 0.0]]))
    errand.watch = GoalWatch(np.array([1.0, 0.0]))
    reached = []
    for _ in range(14):
        step = bench.tick(state_at(0.9))
        reached.append(step.is_reached)
        if step.request is not None:
            bench.control.plan(step.request)
    assert reached.count(True) == 1 and reached.index(True) == 10
    assert bench.control.status()[:2] == (OK, "goal reached")


def mean_of(bench: Bench) -> np.ndarray:
    """What the planner would start its next plan from."""
    return bench.control.loop.planner._mean.copy()


def test_a_goal_with_another_heading_is_another_goal(bench: Bench) -> None:
    errand = driving(bench).control.errand
    errand.watch, errand.task.headings = GoalWatch(FAR[0]), np.array([3.1])
    for heading, is_same in ((-3.0, True), (2.0, False)):
        task = Task(goals=FAR, headings=np.array([heading]))
        assert bench.control.move(FAR[0], task) == is_same
    assert bench.control.errand is errand and errand.task.headings.tolist() == [-3.0]


def test_a_goal_that_moves_a_little_keeps_what_was_learned(bench: Bench) -> None:
    """The errand, the skill, the plan that is being made and the planner's warm start."""
    errand = driving(bench).control.errand
    errand.watch = GoalWatch(FAR[0])
    while (request := bench.tick().request) is None:
        pass
    near = FAR + np.array([0.0, 0.4])
    assert bench.control.move(near[0], Task(goals=near))
    assert bench.control.errand is errand and errand.task.goals.tolist() == near.tolist()
    learned = mean_of(bench)
    reset = []
    bench.control.loop.planner.reset = lambda: reset.append(learned)
    assert bench.control.plan(request) is not None and bench.is_driving(bench.tick())
    assert not bench.control.move(FAR[0] - [9.0, 0.0], Task(goals=FAR))
    assert not reset and np.abs(learned).max() > 0.1


@pytest.mark.parametrize(
    ("goal", "stands_between", "forgets"),
    [([40.3, 0.0], False, False), ([41.0, 0.0], False, True), ([40.3, 0.0], True, True)],
)
def test_the_planner_starts_anew_for_another_goal_only(
    bench: Bench, goal: list[float], stands_between: bool, forgets: bool
) -> None:
    driving(bench).control.errand.watch = GoalWatch(FAR[0])
    before, starts = mean_of(bench), []
    optimize = bench.control.loop.planner._mppi.optimize
    bench.control.loop.planner._mppi.optimize = lambda mean, *rest: (
        starts.append(mean.copy()) or optimize(mean, *rest)
    )
    if stands_between:
        bench.control.turn_to(None)
    bench.control.turn_to(
        Errand(Task(goals=np.array([goal])), GoalWatch(np.array(goal)), received=bench.now)
    )
    step = bench.tick()
    assert bench.is_driving(step) != stands_between
    assert step.request is not None and bench.control.plan(step.request) is not None
    np.testing.assert_array_equal(starts[0], np.zeros_like(before) if forgets else before)


def test_goals_that_keep_changing_hide_no_late_plan(bench: Bench) -> None:
    driving(bench)
    for number in range(13):
        bench.go(FAR + number)
        step = bench.tick()
    assert not bench.is_driving(step)
    assert bench.control.status()[:2] == (WARN, "the plan is late: standing command")


def test_it_tells_what_is_normal_and_warns_of_what_is_not(bench: Bench) -> None:
    bench.now += 10.0
    assert bench.control.check_age() is not None
    assert not bench.said and "no state" in bench.told[0]  # the driver is started later
    bench.tick()
    assert "all is well again" in bench.told[1]
    bench.now += 10.0
    bench.control.check_age()
    assert len(bench.said) == 1 and "no state" in bench.said[0]
    bench.tick()
    bench.control.deactivate()
    assert len(bench.said) == 1 and len(bench.told) == 3


def test_a_task_whose_way_is_not_known_yet_is_not_planned(bench: Bench) -> None:
    driving(bench)
    errand = Errand(Task(goals=FAR), waits_for=LOOKING, received=bench.now)
    bench.control.turn_to(errand)
    step = bench.tick()
    assert step.request is None and not bench.is_driving(step)
    assert bench.control.status()[1] == "looking for a way: standing command"
    bench.control.let_wait(errand, "")
    request = bench.tick().request
    assert request is not None and bench.control.plan(request) is not None
    assert bench.is_driving(bench.tick())
    bench.control.let_wait(errand, "no way")
    assert bench.control.plan(request) is None
    assert not bench.is_driving(bench.tick())
    assert bench.control.status()[:2] == (WARN, "no way: standing command")


def test_of_many_robots_a_broken_one_is_stopped_and_the_others_go_on(
    point_mass_bundle: Path,
) -> None:
    bench = Bench(point_mass_bundle, num=3, lock_step=True)
    bench.go()
    bench.tick()
    state = state_at(num=3)
    state.linear_velocity[1, 0] = np.nan
    result = bench.tick(state).result
    assert result.is_safe_stop.tolist() == [False, True, False]
    assert np.isfinite(result.command).all() and result.command[[0, 2], 0].min() > 0.5
    assert result.reason == "the state is not finite: linear_velocity"


def test_an_error_within_the_step_is_the_safe_command(bench: Bench) -> None:
    driving(bench)
    broken = dataclasses.replace(state_at(), linear_velocity=np.zeros((1, 2)))
    step = bench.tick(broken)
    assert "control step failed" in step.result.reason
    assert step.result.command.tolist() == [[0.0, 0.0]]
    assert bench.is_driving(bench.tick())

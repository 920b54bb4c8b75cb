"""The observer's judgement, on messages whose faults are known."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from dads_ros.nodes.conversions import skill_message
from dads_ros.nodes.runner import RELIABLE_QOS
from faults.observer import Observer
from ros_graph import isolate

MAX_AGE_S = 2.0
S = 10**9


@pytest.fixture
def observer() -> Iterator[Observer]:
    isolate()
    observer = Observer(-np.ones(1), np.ones(1), np.zeros(1), JointTrajectory)
    observer.stamps_are_wall_time = True
    yield observer
    observer.close()


def test_a_trajectory_answers_the_state_that_the_skill_after_it_names(observer: Observer) -> None:
    commands = observer.node.create_publisher(JointTrajectory, "joint_commands", RELIABLE_QOS)
    skills = observer.node.create_publisher(Float64MultiArray, "skill_planner/skill", RELIABLE_QOS)
    for publisher in (commands, skills):
        observer.wait_for(publisher.get_subscription_count)
    begin, number = time.time(), 0

    def send(position: float, age_s: float | None) -> None:
        nonlocal number
        point = JointTrajectoryPoint(positions=[position])
        commands.publish(JointTrajectory(joint_names=["joint"], points=[point]))
        if age_s is not None:
            skills.publish(skill_message(np.ones(2), time.time_ns() - round(age_s * S)))
        number += 1
        observer.wait_for(lambda: len(observer.commands) == number)

    def wrong() -> list[str]:
        return list(observer.wrong_commands(begin, MAX_AGE_S))

    send(1.0, None)
    assert wrong() == ["a driving command answers a state inf s old"]
    observer.forget()
    number, begin = len(observer.commands), time.time()
    send(1.0, 0.0), send(0.5, 1.0)
    assert wrong() == []
    send(0.5, None)  # no newer one than the last
    assert wrong() == []
    send(1.0, 0.0), send(0.0, 100.0)  # a safe command may answer what it likes
    assert wrong() == []
    send(1.0, 10.0), send(0.0, 0.0), send(1.0, 0.0)
    (text,) = wrong()
    assert text.startswith("a driving command answers a state 10.")
    send(0.0, 20.0), send(1.0, None)
    assert wrong()[1].startswith("a driving command answers a state 20.")

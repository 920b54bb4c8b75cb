"""Illegal lifecycle transitions over DDS are answered and leave the node as it was."""

from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from dads_ros.nodes.lifecycle import SteadyLifecycleNode
from ros_graph import Probe

LEGAL = {
    State.PRIMARY_STATE_UNCONFIGURED: {
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    },
    State.PRIMARY_STATE_INACTIVE: {
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_INACTIVE_SHUTDOWN,
    },
    State.PRIMARY_STATE_ACTIVE: {
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_ACTIVE_SHUTDOWN,
    },
    State.PRIMARY_STATE_FINALIZED: set(),
}
LABELS = {
    "configure": (State.PRIMARY_STATE_UNCONFIGURED,),
    "activate": (State.PRIMARY_STATE_INACTIVE,),
    "cleanup": (State.PRIMARY_STATE_INACTIVE,),
    "deactivate": (State.PRIMARY_STATE_ACTIVE,),
}
WAY = {
    State.PRIMARY_STATE_UNCONFIGURED: (),
    State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_CONFIGURE,),
    State.PRIMARY_STATE_ACTIVE: (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ),
    State.PRIMARY_STATE_FINALIZED: (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,),
}


@pytest.fixture
def node(probe: Probe) -> Iterator[SteadyLifecycleNode]:
    """A node that does nothing, spun with the probe."""
    node = SteadyLifecycleNode("steady", context=probe.node.context)
    probe.add(node)
    yield node
    node.destroy_node()


@pytest.mark.parametrize("state", WAY)
def test_every_illegal_transition_is_answered_with_false(
    probe: Probe, node: SteadyLifecycleNode, state: int
) -> None:
    clients = {
        "change": probe.node.create_client(ChangeState, "steady/change_state"),
        "get": probe.node.create_client(GetState, "steady/get_state"),
    }
    for client in clients.values():
        probe.wait_for(client.service_is_ready)

    def change(number: int = 0, label: str = "") -> bool:
        transition = Transition(id=number, label=label)
        answer = clients["change"].call_async(ChangeState.Request(transition=transition))
        probe.wait_for(answer.done)
        return bool(answer.result().success)

    def present() -> int:
        answer = clients["get"].call_async(GetState.Request())
        probe.wait_for(answer.done)
        return int(answer.result().current_state.id)

    assert all([change(number) for number in WAY[state]])
    for number in set(range(101)) - LEGAL[state]:
        assert not change(number), number
    for label in ("", "fly", "x" * 10_000, "create", "destroy", "on_activate_success"):
        assert not change(label=label), label
    for label, legal in LABELS.items():
        if state not in legal:
            assert not change(label=label), label
    assert present() == state
    for number in sorted(LEGAL[state])[:1]:  # and what is possible still is
        assert change(number)
        assert present() != state


class Breaks(SteadyLifecycleNode):
    """Nobody thought of that."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        raise OSError(28, "No space left on device")


def test_what_a_transition_raises_is_logged(
    probe: Probe, capfd: pytest.CaptureFixture[str]
) -> None:
    node = Breaks("breaks", context=probe.node.context)
    probe.add(node)
    change = Transition(id=Transition.TRANSITION_CONFIGURE)
    assert not probe.call(ChangeState, "breaks/change_state", transition=change).success
    said = capfd.readouterr().err
    assert "on_configure failed: unexpected OSError in test_lifecycle.py" in said
    assert "No space left on device" in said
    node.destroy_node()

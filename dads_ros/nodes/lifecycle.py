"""LifecycleNode that may prepare to leave the state active, and says why transitions fail."""

from collections.abc import Callable

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dads_ros.nodes.runner import describe

Transit = Callable[[LifecycleState], TransitionCallbackReturn]
LEAVES_ACTIVE = {
    Transition.TRANSITION_DEACTIVATE: "deactivate",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}


class SteadyLifecycleNode(LifecycleNode):
    """As its base, but a transition that is not possible now is answered with success=False.

    rclpy 7.1 raises, which ends the node; and it drops what a transition raises, which is logged.
    """

    _callbacks: dict[int, Transit]

    def __init__(self, node_name: str, **settings: object) -> None:
        """As the base."""
        super().__init__(node_name, **settings)
        self._callbacks = {at: self._reported(do) for at, do in self._callbacks.items()}
        service = self._service_change_state
        self._change_state, service.callback = service.callback, self._answer_change_state
        # Of its own, so that while a transition is prepared the node does all else.
        service.callback_group = MutuallyExclusiveCallbackGroup()
        service.callback_group.add_entity(service)

    async def before_inactive(self, transition: str) -> None:
        """Awaited before a service does this to the active node: deactivate or shutdown."""

    def _reported(self, transit: Transit) -> Transit:
        def do(state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return transit(state)
            except Exception as error:
                self.get_logger().error(f"{transit.__name__} failed: {describe(error)}")
                raise

        return do

    async def _answer_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        label = request.transition.label or LEAVES_ACTIVE.get(request.transition.id, "")
        if label in LEAVES_ACTIVE.values() and self._state_machine.current_state[1] == "active":
            await self.before_inactive(label)
        try:
            return self._change_state(request, response)
        except rclpy_implementation.RCLError:
            wanted = request.transition.label or request.transition.id
            state = self._state_machine.current_state[1]
            self.get_logger().warning(
                f"transition '{wanted}' is not possible in state '{state}'",
                throttle_duration_sec=1.0,
            )
            response.success = False
            return response

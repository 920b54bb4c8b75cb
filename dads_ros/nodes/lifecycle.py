"""LifecycleNode whose illegal transitions are answered: rclpy 7.1 raises, which ends the node."""

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


class SteadyLifecycleNode(LifecycleNode):
    """As its base, but a transition that is not possible now is answered with success=False."""

    def __init__(self, node_name: str, **settings: object) -> None:
        """As the base."""
        super().__init__(node_name, **settings)
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._answer_change_state

    def _answer_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
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

"""Transform against scipy's rotations."""

import numpy as np
from scipy.spatial.transform import Rotation

from dads_ros.transform import Transform


def test_places_are_where_scipy_has_them() -> None:
    rng = np.random.default_rng(0)
    turn, turns = Rotation.random(random_state=1), Rotation.random(9, random_state=2)
    origin, positions = rng.normal(size=3), rng.normal(size=(9, 3))
    transform = Transform(*origin, *turn.as_quat())
    found = transform.apply(np.hstack([positions, turns.as_quat()]))
    np.testing.assert_allclose(found[:, :3], turn.apply(positions) + origin)
    np.testing.assert_allclose(
        Rotation.from_quat(found[:, 3:]).as_matrix(), (turn * turns).as_matrix(), atol=1e-12
    )


def test_a_turn_moves_most_what_is_far_away() -> None:
    one = Transform.on_ground(1.0, 2.0, 0.3)
    assert one.moved_m(one, 20.0) < 1e-5
    np.testing.assert_allclose(
        one.moved_m(Transform.on_ground(1.0, 2.5, 0.3), 20.0), 0.5, rtol=1e-4
    )
    np.testing.assert_allclose(
        one.moved_m(Transform.on_ground(1.0, 2.0, 0.31), 20.0), 0.2, rtol=1e-4
    )

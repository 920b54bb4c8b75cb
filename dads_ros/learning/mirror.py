"""Mirror: transitions as the robot's mirror image would have made them. Shapes: B batch."""

import numpy as np
import torch
from torch import Tensor, nn

from dads_ros.envs.model import RobotModel, command_permutation, joint_permutation
from dads_ros.errors import ConfigError
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.networks import Turn
from dads_ros.learning.replay_buffer import Transition
from dads_ros.observation import observation_slices

_FIELD_SIGNS = {
    "height": (1.0,),
    "orientation": (1.0, -1.0, 1.0, -1.0),
    "projected_gravity": (1.0, -1.0, 1.0),
    "linear_velocity": (1.0, -1.0, 1.0),
    "angular_velocity": (-1.0, 1.0, -1.0),
}
_POSE_SIGNS = np.array([1.0, -1.0, -1.0])
"""Of x, y and yaw."""


class Mirror(nn.Module):
    """Reflects in the world's or the heading's x-z-plane, the skill's second entry with it.

    Where yaw is predicted, the third entry as well, which is for turning.

    Differs from the paper, which knows no symmetries. The networks do not become symmetric, they
    only see each experience from both sides: a policy that had to be exactly symmetric would jump
    from one gait to its mirror image where the robot walks straight ahead.
    """

    obs_index: Tensor
    obs_sign: Tensor
    action_index: Tensor
    action_sign: Tensor
    skill_sign: Tensor
    delta_index: Tensor
    delta_sign: Tensor
    place_sign: Tensor

    def __init__(self, model: RobotModel, config: TrainConfig) -> None:
        """Read the robot file. Raises: ConfigError when it declares no mirror symmetry."""
        super().__init__()
        spec = model.spec
        if spec.mirror is None:
            raise ConfigError(
                f"'symmetry.mirror' is on, but robot '{spec.name}' declares no 'mirror'; set "
                "'symmetry.mirror: false' in the training config, or declare it in the robot file"
            )
        joints = joint_permutation(spec.joints, spec.mirror)
        commands = command_permutation(spec, spec.mirror, model.driven_joints)
        reflected: dict[str, Turn] = {}
        for field in observation_slices(spec):
            if field in _FIELD_SIGNS:
                signs = np.array(_FIELD_SIGNS[field])
                reflected[field] = np.arange(len(signs)), signs
            else:
                reflected[field] = commands if field == "last_command" else joints
        pose = config.prediction.pose_fields
        moved = np.arange(len(pose)), _POSE_SIGNS[: len(pose)]
        skill_sign = np.ones(config.skill_prior.dim, np.float32)
        skill_sign[1 : len(pose)] = -1.0
        obs_index, obs_sign = _join(list(reflected.values()))
        predicted = [moved, *(reflected[field] for field in config.prediction.body_fields)]
        delta_index, delta_sign = _join(predicted)
        for name, values in (
            ("obs_index", obs_index),
            ("obs_sign", obs_sign.astype(np.float32)),
            ("action_index", commands[0]),
            ("action_sign", commands[1].astype(np.float32)),
            ("skill_sign", skill_sign),
            ("delta_index", delta_index),
            ("delta_sign", delta_sign.astype(np.float32)),
            ("place_sign", _POSE_SIGNS.astype(np.float32)),
        ):
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, transition: Transition, which: Tensor) -> Transition:
        """Reflect those rows. Shape of ``which``: (B,), boolean."""
        rows = which[:, None]

        def obs(values: Tensor) -> Tensor:
            mirrored = values.index_select(1, self.obs_index) * self.obs_sign
            return torch.where(rows, mirrored, values)

        def place(values: Tensor) -> Tensor:
            sign = self.place_sign[: values.shape[1]]
            return torch.where(rows, values * sign, values)

        delta = transition.delta.index_select(1, self.delta_index) * self.delta_sign
        action = transition.action.index_select(1, self.action_index) * self.action_sign
        return transition._replace(
            policy_obs=obs(transition.policy_obs),
            next_policy_obs=obs(transition.next_policy_obs),
            start_obs=obs(transition.start_obs),
            action=torch.where(rows, action, transition.action),
            skill=torch.where(rows, self.skill_sign * transition.skill, transition.skill),
            delta=torch.where(rows, delta, transition.delta),
            place=place(transition.place),
            next_place=place(transition.next_place),
        )


def _join(turns: list[Turn]) -> Turn:
    """One permutation with signs, of vectors that stand one after the other."""
    sizes = [len(permutation) for permutation, _ in turns]
    starts = np.cumsum([0, *sizes[:-1]])
    index = [start + permutation for start, (permutation, _) in zip(starts, turns, strict=True)]
    return np.concatenate(index), np.concatenate([signs for _, signs in turns])

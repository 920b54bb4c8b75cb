"""Mirror: transitions as the robot's mirror image would have made them. Shapes: B batch."""

import numpy as np
import torch
from torch import Tensor, nn

from dads_ros.envs.model import RobotModel, command_permutation, joint_permutation
from dads_ros.errors import ConfigError
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.replay_buffer import Transition
from dads_ros.observation import observation_slices

_FIELD_SIGNS = {
    "height": (1.0,),
    "orientation": (1.0, -1.0, 1.0, -1.0),
    "linear_velocity": (1.0, -1.0, 1.0),
    "angular_velocity": (-1.0, 1.0, -1.0),
}


class Mirror(nn.Module):
    """Reflects in the world's x-z-plane, the skill's second entry with it.

    Differs from the paper, which knows no symmetries. The networks do not become symmetric, they
    only see each experience from both sides: a policy that had to be exactly symmetric would jump
    from one gait to its mirror image where the robot walks straight ahead.
    """

    obs_index: Tensor
    obs_sign: Tensor
    action_index: Tensor
    action_sign: Tensor
    delta_sign: Tensor

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
        index, sign = [], []
        for field, part in observation_slices(spec).items():
            if field in _FIELD_SIGNS:
                permutation = np.arange(part.stop - part.start)
                signs = np.array(_FIELD_SIGNS[field])
            else:
                permutation, signs = commands if field == "last_command" else joints
            index.append(part.start + permutation)
            sign.append(signs)
        delta = [1.0 if field == "x" else -1.0 for field in config.prediction.fields]
        for name, values in (
            ("obs_index", torch.from_numpy(np.concatenate(index))),
            ("obs_sign", torch.from_numpy(np.concatenate(sign)).float()),
            ("action_index", torch.from_numpy(commands[0])),
            ("action_sign", torch.from_numpy(commands[1]).float()),
            ("delta_sign", torch.tensor(delta)),
        ):
            self.register_buffer(name, values)

    def forward(self, transition: Transition, which: Tensor) -> Transition:
        """Reflect those rows. Shape of ``which``: (B,), boolean."""
        rows = which[:, None]
        sign = torch.ones_like(transition.skill)
        sign[:, 1] = -1.0

        def obs(values: Tensor) -> Tensor:
            return torch.where(rows, values[:, self.obs_index] * self.obs_sign, values)

        action = transition.action[:, self.action_index] * self.action_sign
        return transition._replace(
            policy_obs=obs(transition.policy_obs),
            next_policy_obs=obs(transition.next_policy_obs),
            action=torch.where(rows, action, transition.action),
            skill=torch.where(rows, sign * transition.skill, transition.skill),
            delta=torch.where(rows, self.delta_sign * transition.delta, transition.delta),
        )

"""The DADS reward. Shapes: B batch, L skills from the prior."""

import math

import torch
from torch import Tensor


def intrinsic_reward(log_prob: Tensor, alt_log_probs: Tensor) -> Tensor:
    """log q(s'|s,z) - log of the mean of q over z itself and L skills of the prior.

    Args:
        log_prob: log q of the executed skill. Shape (B,).
        alt_log_probs: log q of L skills drawn from the prior. Shape (L, B).
    Returns: reward in nats, at most log(L + 1). Shape (B,).
    Reference: Sharma et al. 2020 (arXiv:1907.01657), section 3, the intrinsic reward r_z.
    Differs from the paper: like the authors' code, z itself counts in the mean, which bounds the
    reward; log-ratios are not clipped to +-50, which logsumexp makes needless.
    """
    others = torch.logsumexp(alt_log_probs, dim=0)
    total = torch.logaddexp(log_prob, others)
    return log_prob - total + math.log(len(alt_log_probs) + 1)

"""The DADS reward. Shapes: B batch, L skills from the prior."""

import math

import torch
from torch import Tensor


def intrinsic_reward(log_prob: Tensor, alt_log_probs: Tensor, *, are_all: bool = False) -> Tensor:
    """log q(s'|s,z) - log of the mean of q over z itself and L skills of the prior.

    Args:
        log_prob: log q of the executed skill. Shape (B,).
        alt_log_probs: log q of L skills drawn from the prior. Shape (L, B).
        are_all: the L skills are all that there are, z among them: their mean is exact.
    Returns: reward in nats, at most log(L + 1), or log(L) when they are all. Shape (B,).
    Reference: Sharma et al. 2020 (arXiv:1907.01657), section 3, the intrinsic reward r_z.
    Differs from the paper: like the authors' code, z itself counts in the mean, which bounds the
    reward; log-ratios are not clipped to +-50, which logsumexp makes needless.
    """
    others = torch.logsumexp(alt_log_probs, dim=0)
    if are_all:
        return log_prob - others + math.log(len(alt_log_probs))
    total = torch.logaddexp(log_prob, others)
    return log_prob - total + math.log(len(alt_log_probs) + 1)

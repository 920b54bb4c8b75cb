"""One thread for every test here: tiny networks gain nothing from more, and lose on a busy CPU."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)

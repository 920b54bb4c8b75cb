"""Late, swapped and repeated states, and real jumps back."""

import pytest

from dads_ros.planning.stamp_order import StampOrder


@pytest.mark.parametrize(
    ("stamps", "patience", "expected"),
    [
        ([1, 2, 3], 3, "nnn"),
        ([5, 5, 6, 6], 3, "nsns"),
        ([1, 2, 4, 3, 5], 3, "nnnln"),  # swapped
        ([1, 5, 3, 4, 6], 3, "nnlln"),  # two are late
        ([9, 3, 2, 1, 10], 3, "nllln"),  # a whole queue, backwards
        ([100, 1, 2, 3, 4], 3, "nlljn"),
        ([100, 1, 2, 3, 50, 51], 3, "nlljnn"),
        ([100, 1, 101, 2, 102, 3, 103], 3, "nlnlnln"),  # two clocks: never a jump
        ([100, 1, 1, 1, 2], 1, "njssn"),  # lock step: it waits for the answer to this one
    ],
)
def test_what_a_stamp_means(stamps: list[int], patience: int, expected: str) -> None:
    order = StampOrder()
    assert "".join(order.judge(stamp, patience)[0] for stamp in stamps) == expected

"""Halves of states find each other in whatever order they come."""

import pytest

from dads_ros.nodes.state_pairs import MAX_UNPAIRED, StatePairs


def pairs_of(arrivals: str) -> list[str]:
    """Stamps of the pairs that arrivals such as 'j1 o1' complete."""
    pairs: StatePairs[str, str] = StatePairs()
    found = []
    for word in arrivals.split():
        add = pairs.add_left if word[0] == "j" else pairs.add_right
        pair = add(int(word[1:]), word)
        assert pair is None or pair[0][1:] == pair[1][1:] == word[1:]
        found.append(pair and word[1:])
    return [stamp for stamp in found if stamp is not None]


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ("j1 o1 o2 j2", ["1", "2"]),
        ("j1 j2 o1 o2", ["1", "2"]),
        ("j1 j2 o2 o1", ["2"]),  # the older state is dropped
        ("j8 j9 j1 o1 o9", ["1"]),  # the stamps start anew
        ("j1 o2 j3 o4", []),
    ],
)
def test_pairs_are_given_out_once_and_in_order(arrivals: str, expected: list[str]) -> None:
    assert pairs_of(arrivals) == expected


def test_what_waits_is_bounded_and_complained_of() -> None:
    pairs: StatePairs[int, int] = StatePairs()
    assert pairs.complaint() == ""
    for stamp in range(MAX_UNPAIRED + 1):
        pairs.add_left(stamp, stamp)
    assert pairs.complaint() == "joint_states comes without odom"
    assert pairs.add_right(0, 0) is None
    assert "never with the same stamp" in pairs.complaint()
    assert pairs.add_right(MAX_UNPAIRED, 0) == (MAX_UNPAIRED, 0)
    assert pairs.complaint() == ""

"""Shortest ways over a grid of cells, in time and memory bounded by the number of cells.

Dijkstra's algorithm runs on at most about ``MAX_NODES`` nodes. A larger grid is searched in two
stages. First over blocks of cells: a block's node is a *connected* part of its free cells, and two
nodes are neighbours where two of their cells are, so that there is a way over the nodes just where
there is one over the cells, however narrow. Then the lengths so found are relaxed from cell to
cell. Shapes: rows along y, columns along x; N nodes, E edges.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Int = NDArray[np.integer]
MAX_NODES = 1_000_000
NUM_SWEEPS = 2
"""Over the cells, in each of the four directions."""
_STEPS = {
    (0, 1): (),
    (1, 0): (),
    (1, 1): ((0, 1), (1, 0)),
    (1, -1): ((0, -1), (1, 0)),
    (1, 2): ((0, 1), (1, 1)),
    (1, -2): ((0, -1), (1, -1)),
    (2, 1): ((1, 0), (1, 1)),
    (2, -1): ((1, 0), (1, -1)),
}
"""To the neighbours (rows, columns) that a way may go to directly, and back: the cells that it
passes over, which must be free as well."""
_STRIP = 256
"""Rows that are worked on at once where a whole grid of numbers would take too much memory."""


class Edges(NamedTuple):
    """Pieces that ways are made of; in both directions. Shape of each (E,)."""

    starts: Int
    ends: Int
    lengths: NDArray[np.floating]


def way_lengths(
    is_free: Bool, weights: Float32, starts: Int, distances: Float32, max_nodes: int = MAX_NODES
) -> tuple[Float32, Bool]:
    """Lengths of the shortest ways to a goal over free cells, in cells.

    A piece of a way counts as many times as the mean of the weights of its ends says. Where no way
    leads, the length is that of the nearest cell from which one does, and the distance to that
    twice on top: so a robot that stands too near to a wall is drawn away from it.

    Args:
        is_free: cells that a way may lead over. Shape (rows, columns).
        weights: of the cells, at least 1. Shape (rows, columns).
        starts: flat indices of the free cells from which the goal is reached directly.
        distances: from each of them, in cells.
        max_nodes: grids of more cells are searched in blocks first.
    Returns: the lengths, and from which cells a way leads. Shape (rows, columns) each.
    """
    side = int(np.ceil(np.sqrt(is_free.size / max_nodes)))
    if side <= 1:
        edges = _cell_edges(is_free, weights)
        ways = _dijkstra(is_free.size, edges, starts, distances).reshape(is_free.shape)
    else:
        ways = _way_lengths_by_blocks(is_free, weights, starts, distances, side)
        half_weights = np.where(is_free, np.float32(0.5) * weights, np.float32(np.inf))
        for _ in range(NUM_SWEEPS):
            ways = _sweep(_sweep(ways, half_weights).T, half_weights.T).T
    is_blocked = ~np.isfinite(ways)
    if is_blocked.any():
        nearest, distance = to_nearest(~is_blocked)
        ways[is_blocked] = ways[nearest[0][is_blocked], nearest[1][is_blocked]]
        ways[is_blocked] += np.float32(2.0) * distance[is_blocked]
    return ways, ~is_blocked


def to_nearest(cells: Bool) -> tuple[Int, Float32]:
    """Row and column of the nearest of some cells, (2, rows, columns), and the distance to it."""
    nearest = distance_transform_edt(~cells, return_distances=False, return_indices=True)
    distance = np.empty(cells.shape, np.float32)
    columns = np.arange(cells.shape[1])
    for first in range(0, len(cells), _STRIP):
        rows = np.arange(first, min(first + _STRIP, len(cells)))
        off = nearest[:, rows]
        distance[rows] = np.hypot(off[0] - rows[:, None], off[1] - columns)
    return nearest, distance


def _cell_edges(is_free: Bool, weights: Float32) -> Edges:
    """Steps between free cells; flat indices."""
    rows, columns = is_free.shape
    index = np.arange(is_free.size, dtype=np.int32).reshape(is_free.shape)
    parts = []
    for (row, column), passed in _STEPS.items():
        a = index[: rows - row, max(0, -column) : columns - max(0, column)].ravel()
        ahead = row * columns + column
        free = is_free.flat[a] & is_free.flat[a + ahead]
        for i, j in passed:
            free &= is_free.flat[a + (i * columns + j)]
        a = a[free]
        mean = 0.5 * (weights.flat[a] + weights.flat[a + ahead])
        parts.append(Edges(a, a + ahead, np.hypot(row, column) * mean))
    return Edges(*map(np.concatenate, zip(*parts, strict=True)))


def _dijkstra(
    num_nodes: int, edges: Edges, starts: Int, distances: NDArray[np.floating]
) -> Float32:
    """Length from each node to the goal, a node of its own beside the starts. Shape (N,)."""
    goal = np.full(len(starts), num_nodes, np.int32)
    graph = csr_array(
        (
            np.concatenate([edges.lengths, distances]).astype(float),
            (
                np.concatenate([edges.starts, goal]).astype(np.int32),
                np.concatenate([edges.ends, starts]).astype(np.int32),
            ),
        ),
        shape=(num_nodes + 1, num_nodes + 1),
    )
    return dijkstra(graph, directed=False, indices=num_nodes)[:-1].astype(np.float32)


def _way_lengths_by_blocks(
    is_free: Bool, weights: Float32, starts: Int, distances: Float32, side: int
) -> Float32:
    """Lengths over blocks of ``side`` x ``side`` cells, for each cell. Infinite where none."""
    rows, columns = is_free.shape
    pad = ((0, -rows % side), (0, -columns % side))
    node, num_nodes, is_open = _parts_of_blocks(np.pad(is_free, pad), side)
    # Where each node is: the mean of its cells, and of their weights.
    num_cells = np.zeros(num_nodes)
    sums = np.zeros((3, num_nodes))
    for first in range(0, rows, _STRIP):
        part = weights[first : first + _STRIP]
        owner = node[first : first + len(part), :columns].ravel()
        count = np.bincount(owner, minlength=num_nodes)
        num_cells += count
        for total, values in zip(sums, (*np.indices(part.shape), part), strict=True):
            total += np.bincount(owner, np.ravel(values), num_nodes)
        sums[0] += first * count
    row, column, weight = (sums / np.maximum(num_cells, 1.0)).astype(np.float32)

    corner = node[::side, ::side]  # any cell of an open block has its node
    starts_open, ends_open, steps = _cell_edges(is_open, weight[corner])
    a, b = _touching(node, is_open, side)
    touching = np.hypot(row[a] - row[b], column[a] - column[b]) * (weight[a] + weight[b]) / 2
    edges = Edges(
        np.concatenate([corner.flat[starts_open], a]),
        np.concatenate([corner.flat[ends_open], b]),
        np.concatenate([side * steps, touching]),
    )
    del starts_open, ends_open, steps, a, b, touching
    # Of several starts in a node the one that is nearest to the goal.
    first_row, first_column = np.divmod(starts, columns)
    entry = node[first_row, first_column]
    lengths = np.hypot(row[entry] - first_row, column[entry] - first_column) * weight[entry]
    lengths += distances
    order = np.lexsort((lengths, entry))
    entry, chosen = np.unique(entry[order], return_index=True)
    ways = _dijkstra(num_nodes, edges, entry, lengths[order][chosen])
    del edges
    result = np.empty(is_free.shape, np.float32)
    for first in range(0, rows, _STRIP):
        strip = slice(first, min(first + _STRIP, rows))
        at = node[strip, :columns]
        i, j = np.ogrid[strip, :columns]
        # Along rows and columns to the node; the sweeps find what is shorter.
        own = (np.abs(row[at] - i) + np.abs(column[at] - j)) * weights[strip]
        result[strip] = np.where(is_free[strip], ways[at] + own, np.float32(np.inf))
    result.flat[starts] = np.minimum(result.flat[starts], distances)
    return result


def _parts_of_blocks(free: Bool, side: int) -> tuple[Int, int, Bool]:
    """Connected parts of the free cells of each block.

    Returns: number of its part for each cell, 0 where it has none (part 0 is empty); how many
        there are; which blocks are free altogether, shape (rows / side, columns / side).
    """
    rows, columns = free.shape[0] // side, free.shape[1] // side
    blocks = free.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(-1, side, side)
    beside = np.zeros((3, 3, 3), bool)
    beside[1] = [[False, True, False], [True, True, True], [False, True, False]]
    parts, num = label(blocks, beside)
    parts = parts.reshape(rows, columns, side, side).transpose(0, 2, 1, 3).reshape(free.shape)
    return parts, num + 1, blocks.all(axis=(1, 2)).reshape(rows, columns)


def _touching(node: Int, is_open: Bool, side: int) -> tuple[Int, Int]:
    """Pairs of nodes with two cells side by side, but for pairs of open blocks; each once."""
    pairs = []
    for nodes, blocks in ((node, is_open), (node.T, is_open.T)):
        a, b = nodes[side - 1 : -1 : side], nodes[side::side]
        both_open = np.repeat(blocks[:-1] & blocks[1:], side, axis=1)
        touch = (a > 0) & (b > 0) & ~both_open
        pairs.append(a[touch].astype(np.int64) << 32 | b[touch])
    found = np.unique(np.concatenate(pairs))
    return found >> 32, found & 0xFFFFFFFF


def _sweep(ways: Float32, half_weights: Float32) -> Float32:
    """Relax lengths along the steps that lead down, then along those that lead up."""
    ways, half_weights = np.ascontiguousarray(ways), np.ascontiguousarray(half_weights)
    num = ways.shape[1]
    wall = np.where(np.isfinite(half_weights), np.float32(0.0), half_weights)
    for order in (slice(None), slice(None, None, -1)):
        lengths, halves, walls = ways[order], half_weights[order], wall[order]
        for row in range(1, len(lengths)):
            here, half = lengths[row], halves[row]
            for (ahead, aside), passed in _STEPS.items():
                if not 0 < ahead <= row:
                    continue
                start = slice(max(0, -aside), num - max(0, aside))
                end = slice(start.start + aside, start.stop + aside)
                found = halves[row - ahead, start] + half[end]
                found *= np.float32(np.hypot(ahead, aside))
                found += lengths[row - ahead, start]
                for i, j in passed:
                    found += walls[row - ahead + i, start.start + j : start.stop + j]
                np.minimum(here[end], found, out=here[end])
    return ways

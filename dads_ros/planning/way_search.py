"""Shortest ways over a grid of cells, in time and memory bounded by the number of cells.

Dijkstra's algorithm runs on the cells of a small grid, on blocks of cells of a larger one. A
block's node is a *connected* part of its free cells, and two nodes are neighbours where two of
their cells are, so that there is a way over the nodes just where there is one over the cells,
however narrow. All that does not depend on the goal is done once, in a ``Roadmap``.

Shapes: rows along y, columns along x; N nodes, E edges.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label, maximum_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Int = NDArray[np.integer]
MAX_BLOCKS = 200_000
"""A grid of more cells than this is searched in blocks, if they may be so large."""
MAX_NODES = 1_000_000
"""At most about so many are searched, whatever the blocks."""
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


class Roadmap:
    """Where ways lead over the free cells of a grid, ready to be searched for any goal."""

    def __init__(
        self, is_free: Bool, weights: Float32, side: int = 1, *, on_cells: bool = False
    ) -> None:
        """Make the graph.

        Args:
            is_free: cells that a way may lead over. Shape (rows, columns).
            weights: of the cells, at least 1: a piece of a way counts as many times as the mean
                of the weights of its ends. Shape (rows, columns).
            side: of a block, in cells.
            on_cells: ``lengths_on_cells`` will be asked for, not ``lengths``.
        """
        self.is_free, self._side = is_free, side
        rows, columns = is_free.shape
        self._shape = -(-rows // side), -(-columns // side)
        if side == 1:
            self._node: Int = np.arange(is_free.size, dtype=np.int32).reshape(is_free.shape)
            self._row, self._column = np.indices(is_free.shape, np.float32).reshape(2, -1)
            self._weight, num_nodes = weights.ravel(), is_free.size
            edges = _cell_edges(is_free, weights)
        else:
            pad = ((0, -rows % side), (0, -columns % side))
            node, num_nodes, is_open = _parts_of_blocks(np.pad(is_free, pad), side)
            self._node = node[:rows, :columns]
            self._row, self._column, mean = _means(self._node, weights, num_nodes)
            # Lengths on cells are only ever lowered. But a way goes along the middle of a passage.
            self._weight = mean if on_cells else _least(self._node, weights, num_nodes)
            edges = self._block_edges(node, is_open)
        # The goal is one more node, whose edges differ from search to search.
        places = edges.starts, edges.ends
        self._graph = csr_array(
            (edges.lengths.astype(float), places), shape=(num_nodes + 1, num_nodes + 1)
        )

    @property
    def num_nodes(self) -> int:
        """N."""
        return self._graph.shape[0] - 1

    def lengths(self, starts: Int, distances: Float32) -> tuple[Float32, Bool]:
        """Lengths of the shortest ways to a goal from every block, in cells.

        No gap that is too narrow looks like a short way: a block of several parts has the longest
        of their ways, and so has one whose neighbour's is longer than any way between the two.
        Where no way leads, see ``_filled``.

        Args:
            starts: flat indices of the free cells from which the goal is reached directly.
            distances: from each of them, in cells.
        Returns: the lengths, and from which blocks, any part of them, a way leads. Shape
            (rows / side, columns / side) each.
        """
        ways = self._search(starts, distances)
        longest = np.full(self._shape, -np.inf, np.float32)
        at = (self._row // self._side).astype(int), (self._column // self._side).astype(int)
        np.maximum.at(longest, at, np.where(np.isfinite(ways), ways, -np.inf))
        leads = np.isfinite(longest)
        if self._side > 1:
            worst = maximum_filter(longest, 3, mode="nearest")
            is_torn = worst > longest + np.float32(4 * self._side) * self._weight.max()
            longest = np.where(leads & is_torn, worst, longest)
        return _filled(longest, leads, self._side), leads

    def lengths_on_cells(self, weights: Float32, starts: Int, distances: Float32) -> Float32:
        """From every cell, along its row and column to its node. Shape (rows, columns)."""
        ways = self._search(starts, distances)
        lengths: Float32 = np.empty(self.is_free.shape, np.float32)
        columns = np.arange(lengths.shape[1])
        for first in range(0, len(lengths), _STRIP):
            strip = slice(first, min(first + _STRIP, len(lengths)))
            node, i = self._node[strip], np.arange(len(lengths))[strip, None]
            own = np.abs(self._row[node] - i) + np.abs(self._column[node] - columns)
            own *= weights[strip]
            lengths[strip] = np.where(self.is_free[strip], ways[node] + own, np.float32(np.inf))
        lengths.flat[starts] = np.minimum(lengths.flat[starts], distances)
        return lengths

    def _search(self, starts: Int, distances: Float32) -> Float32:
        """Length from each node to the goal; infinite where no way leads. Shape (N,)."""
        row, column = np.divmod(starts, self.is_free.shape[1])
        entry = self._node[row, column]
        lengths = np.hypot(self._row[entry] - row, self._column[entry] - column)
        lengths = lengths * self._weight[entry] + distances
        # Of several starts in a node the one that is nearest to the goal.
        order = np.lexsort((lengths, entry))
        entry, chosen = np.unique(entry[order], return_index=True)
        graph, goal = self._graph, self.num_nodes
        indptr = graph.indptr.copy()
        indptr[-1] += len(entry)
        data = np.concatenate([graph.data, lengths[order][chosen]])
        indices = np.concatenate([graph.indices, entry], dtype=np.int32)
        with_goal = csr_array((data, indices, indptr), shape=graph.shape)
        return dijkstra(with_goal, directed=False, indices=goal)[:-1].astype(np.float32)

    def _block_edges(self, node: Int, is_open: Bool) -> Edges:
        """Between open blocks as between cells; else between parts that touch."""
        row, column, weight, side = self._row, self._column, self._weight, self._side
        corner = node[::side, ::side]  # any cell of an open block has its node
        starts, ends, steps = _cell_edges(is_open, weight[corner])
        a, b = _touching(node, is_open, side)
        touching = np.hypot(row[a] - row[b], column[a] - column[b]) * (weight[a] + weight[b]) / 2
        return Edges(
            np.concatenate([corner.flat[starts], a]),
            np.concatenate([corner.flat[ends], b]),
            np.concatenate([side * steps, touching]),
        )


def lengths_on_cells(
    is_free: Bool, weights: Float32, side: int, starts: Int, distances: Float32
) -> tuple[Float32, Bool]:
    """As ``Roadmap.lengths``, but for every cell: found over blocks, relaxed from cell to cell.

    It takes much longer, and only memory that grows with the grid. Shape (rows, columns) each.
    """
    roadmap = Roadmap(is_free, weights, side, on_cells=True)
    lengths = roadmap.lengths_on_cells(weights, starts, distances)
    del roadmap
    half_weights = np.where(is_free, np.float32(0.5) * weights, np.float32(np.inf))
    for _ in range(NUM_SWEEPS):
        lengths = _sweep(_sweep(lengths, half_weights).T, half_weights.T).T
    del half_weights
    leads = np.isfinite(lengths)
    lengths[~leads] = -np.inf
    return _filled(lengths, leads, 1), leads


def block_side(num_cells: int, largest: int) -> int:
    """Side of the blocks in which a grid is searched, at most ``largest``, in cells.

    Where even such blocks are more than ``MAX_NODES`` it is 1: then the cells themselves count.
    """
    side = max(1, min(largest, int(np.ceil(np.sqrt(num_cells / MAX_BLOCKS)))))
    return side if num_cells <= MAX_NODES * side**2 else 1


def _filled(lengths: Float32, leads: Bool, side: int) -> Float32:
    """Lengths for where no way leads, too. Shape (rows, columns) each.

    Beside places with a way: no less than from the worst of them, so that no wall and no gap that
    is too narrow draws a robot from its far side. Deeper within: the length of the nearest, and
    the distance to that twice on top: a robot that touches a wall is drawn away from it.
    """
    if leads.all():
        return lengths
    beside = maximum_filter(lengths, 3, mode="constant", cval=-np.inf)
    lengths[~leads] = beside[~leads] + np.float32(2.0 * side)
    del beside
    is_blocked = ~np.isfinite(lengths)
    if is_blocked.any():
        nearest, distance = to_nearest(~is_blocked)
        lengths[is_blocked] = lengths[nearest[0][is_blocked], nearest[1][is_blocked]]
        lengths[is_blocked] += np.float32(2.0 * side) * distance[is_blocked]
    return lengths


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


def _means(node: Int, weights: Float32, num_nodes: int) -> tuple[Float32, Float32, Float32]:
    """Row, column and weight of each node: the means of its cells. Shape (N,) each."""
    num_cells, sums = np.zeros(num_nodes), np.zeros((3, num_nodes))
    for first in range(0, len(node), _STRIP):
        part = weights[first : first + _STRIP]
        owner = node[first : first + len(part)].ravel()
        count = np.bincount(owner, minlength=num_nodes)
        num_cells += count
        for total, values in zip(sums, (*np.indices(part.shape), part), strict=True):
            total += np.bincount(owner, np.ravel(values), num_nodes)
        sums[0] += first * count
    row, column, weight = (sums / np.maximum(num_cells, 1.0)).astype(np.float32)
    return row, column, weight


def _least(node: Int, weights: Float32, num_nodes: int) -> Float32:
    """Weight of each node: the least of its cells; 0 of a node without any. Shape (N,)."""
    least = np.full(num_nodes, np.inf, np.float32)
    np.minimum.at(least, node.ravel(), weights.ravel())
    return np.where(np.isfinite(least), least, np.float32(0.0))


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
    return (found >> 32).astype(np.int32), (found & 0xFFFFFFFF).astype(np.int32)


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

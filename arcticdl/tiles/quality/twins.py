"""Tiles that look nearly alike, found without comparing each with every other.

Two perceptual hashes are near when they have at least 12 bits between them and differ
in at most a tenth of these (`is_near`). Of two near hashes with v and w bits set, v the
fewer, at most (v + w) / 19 bits differ, so that w is at most 10 v / 9. Hashes of like
weight are therefore compared at a time, cut into one piece more than bits may differ:
some piece must then be equal in both (the pigeonhole principle; Norouzi, Punjani and
Fleet 2012, "Fast search in Hamming space with multi-index hashing"). Equal pieces are
found by sorting, and what they bring together is compared exactly: no pair is lost.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from arcticdl.tiles.folds.pairs import expand, shares

_MIN_BITS = 10
"""Bits that a hash must have set to be compared; a tile without structure has none."""

_BITS = 128

_AT_ONCE = 1 << 13
"""Hashes whose bits are moved at once: what the cache holds."""


def near_duplicates(hashes: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of a tile of `a` and one of `b` that look nearly the same.

    Two hashes are near when they have at least 12 bits between them and differ in at
    most a tenth of these.

    Args:
        hashes: Texts of `measure.perceptual_hash`, one a tile of the store.
        a: Tile indices.
        b: Tile indices.

    Returns:
        (pair, 2) tile indices, in no order.

    Example:
        >>> near_duplicates(["ff" * 16, "ff" * 15 + "fe"], np.array([0]), np.array([1]))
        array([[0, 1]])
    """
    codes, of_tile = _distinct(decode(hashes))
    a, b = (np.asarray(rows, "int64") for rows in (a, b))
    mine, theirs = _Members(of_tile, a, len(codes)), _Members(of_tile, b, len(codes))
    found = [np.empty((0, 2), "int64")]
    for left, right in _near_both_ways(codes):
        for part in shares(mine.count[left] * theirs.count[right]):
            found.append(_products(mine, theirs, left[part], right[part]))
    return np.concatenate(found)


def count_near(hashes: Any, keys: Any, a: np.ndarray, b: np.ndarray) -> int:
    """Counts the pairs of `near_duplicates` whose images are not equal altogether.

    However many there are, they are counted and never listed.

    Args:
        hashes: Texts of `measure.perceptual_hash`, one a tile of the store.
        keys: (tile,) hashes of the images' bytes.
        a: Tile indices.
        b: Tile indices.
    """
    every = decode(hashes)
    codes, of_tile = _distinct(every)
    size = len(codes)
    sides = [np.bincount(of_tile[rows], minlength=size) for rows in (a, b)]
    near = sum(
        int((sides[0][left] * sides[1][right]).sum())
        for left, right in _near_both_ways(codes)
    )
    return near - _count_equal_and_near(every, keys, a, b)


def near_other_scenes(hashes: Any, scenes: Any) -> np.ndarray:
    """Tiles that look nearly like a tile of another scene: sorted indices.

    Args:
        hashes: Texts of `measure.perceptual_hash`, one a tile of the store.
        scenes: (tile,) the name of each tile's scene.
    """
    import pandas as pd

    codes, of_tile = _distinct(decode(hashes))
    scene = pd.Series(scenes).factorize()[0]
    # A tile has a near one of another scene if among all near tiles, itself included,
    # the least or the greatest number of a scene is not its own.
    least, greatest = (np.full(len(codes), end) for end in (len(scene), -1))
    np.minimum.at(least, of_tile, scene)
    np.maximum.at(greatest, of_tile, scene)
    first, last = (np.full(len(codes), end) for end in (len(scene), -1))
    rich = np.zeros(len(codes), bool)
    for left, right in _near_both_ways(codes):
        rich[left] = True
        np.minimum.at(first, left, least[right])
        np.maximum.at(last, left, greatest[right])
    other = (first[of_tile] != scene) | (last[of_tile] != scene)
    return np.flatnonzero(rich[of_tile] & other)


def near_any(hashes: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The tiles of `a` that look nearly like some tile of `b`.

    Args:
        hashes: Texts of `measure.perceptual_hash`, one a tile of the store.
        a: Tile indices.
        b: Tile indices.
    """
    codes, of_tile = _distinct(decode(hashes))
    there, near = (np.zeros(len(codes), bool) for _ in range(2))
    there[of_tile[b]] = True
    for left, right in _near_both_ways(codes):
        near[left[there[right]]] = True
    return np.asarray(a)[near[of_tile[a]]]


def earliest_near(hashes: Any, ranks: np.ndarray) -> np.ndarray:
    """The least rank among the tiles that look nearly like each, itself included.

    Args:
        hashes: Texts of `measure.perceptual_hash`, one a tile of the store.
        ranks: (tile,) whole numbers.

    Returns:
        (tile,) int64.
    """
    codes, of_tile = _distinct(decode(hashes))
    least = np.full(len(codes), int(ranks.max(initial=0)))
    np.minimum.at(least, of_tile, ranks)
    found = np.full(len(codes), int(ranks.max(initial=0)))
    for left, right in _near_both_ways(codes):
        np.minimum.at(found, left, least[right])
    return np.minimum(found[of_tile], ranks)


def decode(hashes: Any) -> np.ndarray:
    """Hashes as numbers: (tile, 2) uint64, 128 bits each."""
    raw = bytes.fromhex("".join(hashes))
    return np.frombuffer(raw, "uint64").reshape(-1, 2)


def is_near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether hashes that are compared at all are near: (pair,) booleans.

    Args:
        a: (pair, 2) uint64; see `decode`.
        b: The hashes to compare them with.
    """
    union = np.bitwise_count(a | b).sum(-1, dtype="int16")
    differ = np.bitwise_count(a ^ b).sum(-1, dtype="int16")
    return np.asarray((union >= 12) & (differ * 10 <= union))


class _Members:
    """The tiles of a side that each distinct hash has, repeated ones repeatedly."""

    def __init__(self, of_tile: np.ndarray, rows: np.ndarray, size: int) -> None:
        code = of_tile[rows]
        self.rows = rows[np.argsort(code, kind="stable")]
        self.count = np.bincount(code, minlength=size)
        self.start = np.cumsum(self.count) - self.count


def _products(
    mine: _Members, theirs: _Members, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """All pairs of the tiles of two hashes, for many pairs of hashes."""
    pair, place = expand(mine.count[left] * theirs.count[right])
    width = theirs.count[right][pair]
    first = mine.rows[mine.start[left][pair] + place // width]
    second = theirs.rows[theirs.start[right][pair] + place % width]
    return np.stack([first, second], 1)


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct hashes, those with fewest bits first, and which one each tile has.

    Ordered by weight and then at random, as sorted numbers would not be.
    """
    order = np.lexsort((codes[:, 1], codes[:, 0]))
    ordered = codes[order]
    new = np.ones(len(codes), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    of_tile = np.empty(len(codes), "int64")
    of_tile[order] = np.cumsum(new) - 1
    distinct = ordered[new]
    by_weight = np.argsort(_weight(distinct), kind="stable")
    place = np.empty(len(distinct), "int64")
    place[by_weight] = np.arange(len(distinct))
    return distinct[by_weight], place[of_tile]


def _weight(codes: np.ndarray) -> np.ndarray:
    # Two columns: a sum over so short an axis takes several times as long.
    high, low = np.bitwise_count(codes).T
    return high.astype("int64") + low


def _near_both_ways(codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of near hashes: each with itself, and each two in both orders."""
    same = np.flatnonzero(_weight(codes) >= _MIN_BITS)
    same = same[is_near(codes[same], codes[same])]
    yield same, same
    for left, right in _near_pairs(codes):
        yield left, right
        yield right, left


def _near_pairs(codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of distinct near hashes, each once.

    Args:
        codes: (hash, 2) distinct, those with fewest bits first.
    """
    weight, mixed = _weight(codes), _shuffle_bits(codes)
    fewest = np.arange(_MIN_BITS, _BITS + 1)
    differ = np.minimum((fewest + fewest * 10 // 9) // 19, _BITS // 10)
    for allowed in np.unique(differ):
        low, high = fewest[differ == allowed][[0, -1]]
        bounds = [low, high + 1, high * 10 // 9 + 1]
        first, middle, last = np.searchsorted(weight, bounds)
        part, own = slice(first, last), middle - first
        pieces = _pieces(mixed[part], int(allowed) + 1)
        for number in range(len(pieces)):
            for left, right in _equal_pieces(pieces, number, own):
                near = is_near(codes[part][left], codes[part][right])
                yield left[near] + first, right[near] + first


def _equal_pieces(
    pieces: list[np.ndarray], number: int, own: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs with one piece equal and none of those before it, the lighter hash first.

    Args:
        pieces: Of all hashes, the lightest first: (hash,) uint64 each.
        number: Of the piece that must be equal.
        own: Only the first so many hashes are the lighter one of a pair.
    """
    order = np.argsort(pieces[number], kind="stable")  # equal ones stay by weight
    ordered = pieces[number][order]
    end = np.searchsorted(ordered, ordered, side="right")
    after = np.where(order < own, end - np.arange(len(order)) - 1, 0)
    begin = np.flatnonzero(after)
    for part in shares(after[begin]):
        row, step = expand(after[begin[part]])
        place = begin[part][row]
        left, right = order[place], order[place + step + 1]
        known = np.zeros(len(left), bool)
        for piece in pieces[:number]:
            known |= piece[left] == piece[right]
        yield left[~known], right[~known]


def _shuffle_bits(codes: np.ndarray) -> np.ndarray:
    """Hashes with their bits in another order, always the same: (hash, 2) uint64.

    Bits of neighbouring cells are alike; pieces of far ones tell hashes apart better.
    """
    order = np.random.default_rng(0).permutation(_BITS)
    packed = np.ascontiguousarray(codes).view("uint8")
    mixed = np.empty_like(packed)
    for start in range(0, len(codes), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        bits = np.unpackbits(packed[rows], axis=1)
        mixed[rows] = np.packbits(bits[:, order], axis=1)
    return mixed.view(">u8").astype("uint64")


def _pieces(words: np.ndarray, count: int) -> list[np.ndarray]:
    """Cuts hashes of two words into pieces of at most 64 bits: (hash,) uint64 each."""
    high, low = words.T
    pieces = []
    for columns in np.array_split(np.arange(_BITS), count):
        behind = _BITS - 1 - int(columns[-1])
        if behind >= 64:
            piece = high >> np.uint64(behind - 64)
        elif behind == 0:
            piece = low
        else:
            piece = (low >> np.uint64(behind)) | (high << np.uint64(64 - behind))
        pieces.append(piece & np.uint64(2 ** len(columns) - 1))
    return pieces


def _count_equal_and_near(
    codes: np.ndarray, keys: Any, a: np.ndarray, b: np.ndarray
) -> int:
    """Pairs with equal images that are near as well, counted by their kinds."""
    import pandas as pd

    key = pd.Series(keys).factorize()[0]
    rich = _weight(codes) >= _MIN_BITS
    tables = []
    for rows in (a, b):
        rows = rows[rich[rows]]
        table = pd.DataFrame(
            {"key": key[rows], "p": codes[rows, 0], "q": codes[rows, 1]}
        )
        tables.append(table.groupby(["key", "p", "q"]).size().reset_index(name="n"))
    both = tables[0].merge(tables[1], on="key")
    near = is_near(both[["p_x", "q_x"]].to_numpy(), both[["p_y", "q_y"]].to_numpy())
    return int((both["n_x"] * both["n_y"])[near].sum())

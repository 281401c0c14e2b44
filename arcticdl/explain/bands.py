"""Which bands a trained network needs: permuted or left out, scored on labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.evaluation.choose import Evaluation, evaluation_for
from arcticdl.evaluation.scenes import match_labels
from arcticdl.explain.subject import refuse_ensemble
from arcticdl.inference.forward import compiled, xla_helps
from arcticdl.inference.predictor import AnyModel, Predictor
from arcticdl.metrics.intervals import interval_of
from arcticdl.progress import track
from arcticdl.tasks import SCORES, Head
from arcticdl.tiles import LabelInfo, TileStore

_LEFT_OUT = "left_out"


class _Part(NamedTuple):
    """Some tiles, scaled, and those that lend them their bands."""

    scenes: list[str]
    tiles: list[str]
    scaled: NDArray[np.float32]
    lent: list[NDArray[np.float32]]
    truths: Mapping[str, NDArray[Any]]


def band_importance(
    model: AnyModel,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    num_repeats: int = 3,
    max_tiles: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, dict[str, Any]]:
    """How much worse a model scores without what a band tells.

    A band is *permuted* (Breiman 2001, doi:10.1023/A:1010933404324): each tile gets it
    from another tile, so that it looks as it should and tells nothing; and it is *left
    out*: 0 after scaling, as where it has no data. Bands that tell the same thing can
    stand in for each other, and each alone then seems not to matter.

    Scored are the same pixels every time: valid ones that bear a label. Where the tile
    that lends a band has no data, the band is 0.

    Args:
        model: A model with a card, or a ``.keras`` file.
        store: The tile store.
        indices: Tiles to score, which the model has not learnt from.
        num_repeats: Permutations.
        max_tiles: Of more tiles this many are drawn.
        seed: Of the permutations, of the draw and of the intervals.
        progress: Whether to show a progress bar.

    Returns:
        Label -> ``score`` (its key and title), ``sign`` (1: more is better), ``whole``
        (the score with all bands, pooled), ``num_tiles``, ``num_scenes`` and ``bands``:
        name -> ``permuted`` and ``left_out``, each with ``loss``, by how much the score
        of a scene gets worse on average, and ``interval`` of 95 % over scenes (``None``
        of a single one).

    Raises:
        ValueError: Fewer than two tiles, or no repeat.
        TaskError: The store lacks the labels of the model's heads.
    """
    chosen = np.asarray(indices)
    if len(chosen) < 2 or num_repeats < 1:
        raise ValueError(
            "Permuting bands needs at least two tiles, and `num_repeats` of at least "
            f"1. Received: {len(chosen)} tiles, num_repeats={num_repeats}."
        )
    rng = np.random.default_rng(seed)
    if len(chosen) > max_tiles:
        chosen = np.sort(rng.choice(chosen, max_tiles, replace=False))
    predictor = Predictor(model, batch_size=4)
    refuse_ensemble(predictor.card)
    network, heads = predictor.members[0].model, predictor.heads
    answering = compiled(network, heads, xla_helps(), drops=False)
    labels = match_labels(predictor.heads, store)
    ways = [
        None,
        *((b, w) for b in range(len(store.bands)) for w in _ways(num_repeats)),
    ]
    scored = {
        (way, name): evaluation_for(head, num_pictures=0, num_resamples=2, seed=seed)
        for way in ways
        for name, head in predictor.heads.items()
    }
    parts = _parts(predictor, store, labels, chosen, rng, num_repeats)
    count = -(-len(chosen) // predictor.batch_size)
    for part in track(parts, "bands", count, shown=progress):
        for way in ways:
            pixels = _changed(part, way)
            lacking = predictor.batch_size - len(pixels)
            answers = answering(np.pad(pixels, [(0, lacking), *[(0, 0)] * 3]))
            for name, head in predictor.heads.items():
                _score(part, head, part.truths[name], answers[name], scored[way, name])
    return {
        labels[name].name: _summed(head, store.bands, num_repeats, seed, len(chosen), {
            way: scored[way, name] for way in ways
        })
        for name, head in predictor.heads.items()
    }  # fmt: skip


def _ways(num_repeats: int) -> list[Any]:
    return [_LEFT_OUT, *range(num_repeats)]


def _parts(
    predictor: Predictor,
    store: TileStore,
    labels: Mapping[str, LabelInfo],
    chosen: np.ndarray,
    rng: np.random.Generator,
    num_repeats: int,
) -> Iterator[_Part]:
    """Batches of tiles; each tile borrows from another, in every repeat."""
    orders = [_derangement(len(chosen), rng) for _ in range(num_repeats)]
    for start in range(0, len(chosen), predictor.batch_size):
        places = np.arange(start, min(start + predictor.batch_size, len(chosen)))
        tiles = chosen[places]
        read = store.read(tiles)
        truths = {}
        for name, info in labels.items():
            truth = read[info.name]
            if info.is_pixel:
                truth = np.where(
                    read["valid"].reshape(
                        read["valid"].shape + (1,) * (truth.ndim - 3)
                    ),
                    truth,
                    np.asarray(info.void, truth.dtype),
                )
            truths[name] = truth
        rows = store.manifest.iloc[tiles]
        yield _Part(
            [str(scene) for scene in rows["scene_id"]],
            [str(tile) for tile in rows["tile_id"]],
            _scaled(predictor, store, tiles, read),
            [_scaled(predictor, store, chosen[order[places]]) for order in orders],
            truths,
        )


def _derangement(count: int, rng: np.random.Generator) -> np.ndarray:
    """An order in which nothing stays where it was: along a random ring."""
    ring = rng.permutation(count)
    order = np.empty(count, int)
    order[ring] = np.roll(ring, 1)
    return order


def _scaled(
    predictor: Predictor,
    store: TileStore,
    tiles: np.ndarray,
    read: Mapping[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Tiles as the network takes them, each by its own scene where it must be."""
    found = store.read(tiles, ["image", "valid"]) if read is None else read
    normalizer = predictor.members[0].normalizer
    scenes = store.manifest["scene_id"].iloc[tiles]
    parts = []
    for image, valid, scene in zip(found["image"], found["valid"], scenes, strict=True):
        stats = store.scene_stats(scene) if normalizer.needs_image_stats else None
        parts.append(normalizer(image[None], valid[None], stats)[0])
    return np.stack(parts)


def _changed(part: _Part, way: tuple[int, Any] | None) -> NDArray[np.float32]:
    """The tiles without what a band tells."""
    if way is None:
        return part.scaled
    band, how = way
    pixels = part.scaled.copy()
    pixels[..., band] = 0 if how == _LEFT_OUT else part.lent[how][..., band]
    return pixels


def _score(
    part: _Part,
    head: Head,
    truths: NDArray[Any],
    answers: NDArray[np.float32],
    evaluation: Evaluation,
) -> None:
    for scene, tile, truth, answer in zip(
        part.scenes, part.tiles, truths, answers[: len(truths)], strict=True
    ):
        if head.spec.dense:
            evaluation.add(scene, truth, answer)
        else:
            evaluation.add(tile, np.asarray(truth)[None, None], answer[None, None])


def _summed(
    head: Head,
    bands: Sequence[str],
    num_repeats: int,
    seed: int,
    num_tiles: int,
    scored: Mapping[Any, Evaluation],
) -> dict[str, Any]:
    chief = SCORES[head.form.scored_by][0]
    whole = scored[None].result()
    before = _by_scene(whole, chief.key)
    told = {}
    for number, band in enumerate(bands):
        losses = {
            how: chief.sign
            * (before - _by_scene(scored[number, how].result(), chief.key))
            for how in _ways(num_repeats)
        }
        permuted = np.mean([losses[how] for how in range(num_repeats)], axis=0)
        told[band] = {
            "permuted": _interval(permuted, seed),
            _LEFT_OUT: _interval(losses[_LEFT_OUT], seed),
        }
    return {
        "score": {"key": chief.key, "title": chief.title},
        "sign": chief.sign,
        "whole": whole["scores"][chief.key],
        "num_tiles": num_tiles,
        "num_scenes": len(before),
        "bands": told,
    }


def _by_scene(result: Mapping[str, Any], key: str) -> np.ndarray:
    """The score of each scene with a scored pixel; these are the same every time."""
    entries = [entry for entry in result["images"] if entry["num_pixels"]]
    entries.sort(key=lambda entry: str(entry["image_id"]))
    return np.array([entry[key] for entry in entries], float)


def _interval(
    losses: np.ndarray, seed: int, num_resamples: int = 2000
) -> dict[str, Any]:
    """Mean over scenes, and its bootstrap interval of 95 % over them."""
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return {"loss": None, "interval": None}
    told: dict[str, Any] = {"loss": float(losses.mean()), "interval": None}
    if losses.size > 1:
        drawn = np.random.default_rng(seed).choice(losses, (num_resamples, losses.size))
        told["interval"] = interval_of(drawn.mean(axis=1))
    return told

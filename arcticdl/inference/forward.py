"""Models as one function of batches: compiled once, over members, views and masks."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.choices import check_choice
from arcticdl.inference.layers import ReadAnswer
from arcticdl.losses.probabilities import have_probabilities
from arcticdl.models.card import gives_answers, model_outputs
from arcticdl.models.probe import with_dropout
from arcticdl.scene import BandStats
from arcticdl.tasks import Head, entropy
from arcticdl.tiles import Normalizer
from arcticdl.training.orient import turn_vectors

Answers = dict[str, NDArray[np.float32]]


class View(NamedTuple):
    """One way to look at a scaled image.

    Attributes:
        turns: Quarter turns.
        flip: Whether it is mirrored along x, afterwards.
        invert: Whether its contrast is turned round about 0, the value that it is
            scaled about.
    """

    turns: int
    flip: bool
    invert: bool = False


_MOVED = {
    "none": (View(0, False),),
    "hflip": (View(0, False), View(0, True)),
    "d4": tuple(View(turns, flip) for turns in range(4) for flip in (False, True)),
}
_INVERTED = {
    "invert" if name == "none" else f"{name}+invert": tuple(
        view._replace(invert=invert) for invert in (False, True) for view in views
    )
    for name, views in _MOVED.items()
}
TTA = _MOVED | _INVERTED
"""Name -> the views that are averaged."""


def xla_helps() -> bool:
    """Whether XLA is worth its compile time here: always on JAX, else on accelerators.

    On processors TensorFlow's own kernels are as fast for convolutions, and a compiled
    program is bound to one shape.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _look(array: NDArray[Any], view: View) -> NDArray[Any]:
    turned = np.rot90(array, view.turns, axes=(1, 2))
    mirrored = turned[:, :, ::-1] if view.flip else turned
    return -mirrored if view.invert else mirrored


def _turn_back(array: NDArray[Any], view: View) -> NDArray[Any]:
    if array.ndim < 4:  # one answer an image has no direction
        return array
    mirrored = array[:, :, ::-1] if view.flip else array
    return np.rot90(mirrored, -view.turns, axes=(1, 2))


def _check_inversion(
    tta: str, members: Sequence["Member"], heads: Mapping[str, Head]
) -> None:
    """Refuses views of turned contrast where they would be something else.

    0 is a surface of the image itself only where each image is scaled about one, and
    a value that is answered, such as a restored band, might have to be turned as well.
    """
    if not any(view.invert for view in TTA[tta]):
        return
    plain = tta.removesuffix("invert").removesuffix("+") or "none"
    for member in members:
        if not member.normalizer.needs_image_stats:
            method = getattr(member.normalizer, "method", "a layer of the model")
            raise ValueError(
                "`tta` with 'invert' turns contrast round about the value that each "
                "image is scaled about, so each model must be scaled by a method "
                f"'per_image...'. Received: tta={tta!r}, scaling {method!r}. Take "
                f"tta={plain!r}, or train with `train.normalizer: per_image_mode` and "
                "the augmentation `invert`."
            )
    values = [name for name, head in heads.items() if head.form.scored_by == "values"]
    if values:
        raise ValueError(
            "`tta` with 'invert' averages answers that contrast does not change: "
            f"classes and labels. Received: tta={tta!r} and values of {values}. Take "
            f"tta={plain!r}."
        )


class SourcePixels:
    """In place of a normaliser, for a model that scales by itself.

    Attributes:
        needs_image_stats: ``False``; as of a normaliser.
    """

    needs_image_stats = False

    def __call__(
        self, image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> NDArray[np.float32]:
        """Source units as float32, NaN in every band of an invalid pixel."""
        return np.where(valid[..., None], image, np.nan).astype(np.float32)


class Member(NamedTuple):
    """A model, and what scales its input.

    Attributes:
        model: Any Keras model from (batch, y, x, band) to logits or values, or to what
            may be averaged, where its card says that it is activated.
        normalizer: Fitted scaling of its bands; each fold has one of its own.
    """

    model: keras.Model
    normalizer: Normalizer | SourcePixels


Forward = Callable[[NDArray[Any], NDArray[np.bool_], BandStats | None], Answers]


def spread_of(head: str) -> str:
    """Key of the members' disagreement about a head."""
    return f"{head}/spread"


NOVELTY = "/novelty"
"""Key of how unlike the training scenes a place is, whatever the head."""

OF_CODE = {name: f"/{name}" for name in ("anomaly", "cluster", "latent")}
"""Keys of what an autoencoder tells beside the image that it rebuilds."""


def keys_of(head: str, reads: str) -> list[str]:
    """Keys of the answers that an output of a head reads; see ``tasks.Output``."""
    one = {"answer": [head], "spread": [spread_of(head)], "novelty": [NOVELTY]}
    one |= {name: [key] for name, key in OF_CODE.items()}
    return one["answer"] + one["spread"] if reads == "both" else one[reads]


def build_forward(
    members: Sequence[Member],
    heads: Mapping[str, Head],
    *,
    tta: str = "none",
    batch_size: int = 8,
    jit_compile: bool | None = None,
    spread: bool = False,
    mc_dropout: int | None = None,
) -> Forward:
    """Returns a function from source pixels to what each head's answers mean.

    The caller's models keep their compile settings: twins of their weights are compiled
    here, and kept as long as they live; for XLA short batches are filled up.

    Args:
        members: Models whose answers are averaged, of the same heads.
        heads: Name -> what the output answers; activated as its form says.
        tta: Views whose results are averaged, by their name in `TTA`: ``"none"``,
            ``"hflip"``, ``"d4"``, in which vectors turn; with ``"invert"`` each also
            with its contrast turned round about the value that it is scaled about.
        batch_size: Images in one call of a model.
        jit_compile: Whether XLA compiles the twins; ``None``: where it helps.
        spread: Whether to give, under ``spread_of(head)``, also how far members and
            views disagree: about classes the mutual information of class and member
            (1 channel, over its maximum, 0-1; Depeweg et al. 2018, arXiv:1710.07283),
            about all else the variance of each activated number.
        mc_dropout: Passes with dropout left on, each with masks of its own, the same at
            every call; members (Gal and Ghahramani 2016, arXiv:1506.02142).

    Returns:
        Function of (n, y, x, band) in source units, validity (n, y, x), n <=
        batch_size, and statistics of the whole scene (``None`` where none are needed)
        to float32 (n, y, x, channel), of whole images (n, channel), by head name.

    Raises:
        ValueError: Unknown ``tta``, inverted views where the scaling is not each
            image's own or a head answers values, or passes without dropout.
    """
    check_choice("tta", tta, TTA)
    _check_inversion(tta, members, heads)
    views = TTA[tta]
    masks = [None] if mc_dropout is None else range(mc_dropout)
    drops = mc_dropout is not None
    jit = xla_helps() if jit_compile is None else jit_compile
    answers = [compiled(member.model, heads, jit, drops) for member in members]

    def forward(
        image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> Answers:
        means = {name: _Mean(head, spread) for name, head in heads.items()}
        for member, answer in zip(members, answers, strict=True):
            bands = getattr(member.normalizer, "bands", ())
            seen: Any = None
            for mask, view in product(masks, views):
                turned = turn_vectors(image, bands, view.turns, view.flip)
                if turned is not seen:
                    scaled = member.normalizer(turned, valid, stats)
                    filled = _filled(scaled, batch_size) if jit or drops else scaled
                    seen = turned
                answer.draw(mask)
                for name, value in answer(_look(filled, view)).items():
                    means[name].add(_turn_back(value, view)[: len(image)])
        found = {name: mean.mean for name, mean in means.items()}
        if spread:
            found |= {spread_of(name): mean.spread() for name, mean in means.items()}
        return found

    return forward


class _Mean:
    """The mean of members' answers, and how far they disagree."""

    def __init__(self, head: Head, spread: bool) -> None:
        self.of_classes = head.form.spread == "information"
        self.wanted, self.count = spread, 0
        self.mean: Any = 0.0
        self.moment: Any = 0.0

    def add(self, value: NDArray[np.float32]) -> None:
        """Takes one member's answer into the mean, by Welford's update.

        The sum of squared deviations is gathered about the running mean: the mean of
        squares less the square of the mean would lose the spread of values far from 0,
        such as temperatures in K, to the rounding of float32.
        """
        self.count += 1
        if self.count == 1 and not self.wanted:
            self.mean = value  # of one member it is the mean, without three passes
            return
        step = value - self.mean
        self.mean = self.mean + step / np.float32(self.count)
        if self.wanted and self.of_classes:
            self.moment = self.moment + entropy(value)[..., None]
        elif self.wanted:
            self.moment = self.moment + step * (value - self.mean)

    def spread(self) -> NDArray[np.float32]:
        """Mutual information over its maximum, or the population variance."""
        told = self.moment / np.float32(self.count)
        if self.of_classes:
            most = np.float32(np.log(max(self.mean.shape[-1], 2)))
            told = (entropy(self.mean)[..., None] - told) / most
        return np.maximum(told, 0)


class _Checks(keras.layers.Layer):
    """What tells, in the graph, whether a network's answers can be read.

    Call arguments:
        x: Tensor ``(batch, ..., channel)``, as the network gave it.

    Returns:
        float32 ``(3,)``: how many numbers there are, how many of them are not finite,
        and 1 where they are probabilities of exclusive classes, else 0.
    """

    def call(self, x: Any) -> Any:
        x = ops.cast(x, "float32")
        broken = ops.cast(ops.logical_not(ops.isfinite(x)), "float32")
        told = ops.zeros(())
        if x.shape[-1] > 1:
            everywhere = ops.ones_like(x[..., :1])
            told = ops.cast(have_probabilities(x, everywhere), "float32")
        size = ops.cast(ops.size(x), "float32")
        return ops.stack([size, ops.sum(broken), told])


def _refuse_unreadable(told: NDArray[np.float32], name: str, logits: bool) -> None:
    """Refuses numbers that activation might turn into a plausible answer.

    Probabilities would be made nearly alike by a second softmax.

    Args:
        told: As from ``_Checks``.
        name: Of the answer.
        logits: Whether a softmax follows.
    """
    size, broken, probabilities = told.tolist()
    if broken:
        raise ValueError(
            f"The network's answer {name!r} must be finite. Received: "
            f"{int(broken)} of {int(size)} numbers that are not: it diverged in "
            "training, or its input is of another scale."
        )
    if logits and probabilities:
        raise ValueError(
            f"The network's answer {name!r} must be logits, which a softmax turns into "
            "probabilities here. Received: probabilities. Build it without its last "
            "activation."
        )


class _Answering:
    """A model that is compiled, with activation and checks in its graph.

    Args:
        model: The model, whose weights are shared.
        heads: Name -> what its outputs answer.
        jit: Whether XLA compiles it.
        drops: Whether its dropout stays on.
    """

    def __init__(
        self, model: keras.Model, heads: Mapping[str, Head], jit: bool, drops: bool
    ) -> None:
        activated = gives_answers(model)
        self.masks: list[Any] = []
        if drops:
            model, self.masks = with_dropout(model)
        tensors = model_outputs(model)
        if list(tensors) == [""]:
            tensors = {next(iter(heads)): tensors[""]}
        outputs = {}
        for name, head in heads.items():
            raw = tensors[name]
            outputs[f"{name}/checks"] = _Checks()(raw)
            outputs[name] = raw if activated else ReadAnswer(head.spec.kind)(raw)
        self.twin = keras.Model(model.inputs, outputs)
        self.twin.compile(jit_compile=jit)
        self.needs_logits = {
            name: not activated and head.form.codes is not None
            for name, head in heads.items()
        }

    def draw(self, number: int | None) -> None:
        """Makes the next call drop by the masks of this number."""
        for place, generator in enumerate(self.masks):
            generator.state.assign([number, place])

    def __call__(self, batch: NDArray[np.float32]) -> Answers:
        found = self.twin.predict_on_batch(np.ascontiguousarray(batch))
        for name, logits in self.needs_logits.items():
            _refuse_unreadable(np.asarray(found[f"{name}/checks"]), name, logits)
        return {name: np.asarray(found[name], np.float32) for name in self.needs_logits}


_COMPILED: WeakKeyDictionary[keras.Model, dict[Any, _Answering]] = WeakKeyDictionary()
"""Models that are alive -> their compiled forward passes.

Tracing takes a second, which would be paid again for every scene.
"""


def compiled(
    model: keras.Model, heads: Mapping[str, Head], jit: bool, drops: bool
) -> _Answering:
    """The forward pass of a model, compiled with the first call and then kept.

    Args:
        model: The model, whose weights are shared.
        heads: Name -> what its outputs answer.
        jit: Whether XLA compiles it.
        drops: Whether its dropout stays on.

    Returns:
        Function of scaled pixels (n, y, x, band) to activated answers by head.
    """
    if drops:  # it has a state of its own, the mask
        return _Answering(model, heads, jit, drops)
    kept = _COMPILED.setdefault(model, {})
    key = (jit, *((name, head.spec.kind) for name, head in heads.items()))
    if key not in kept:
        kept[key] = _Answering(model, heads, jit, drops)
    return kept[key]


def _filled(images: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """A short batch, filled up to the next power of two or to a whole one.

    XLA compiles a program for each shape.
    """
    size = min(batch_size, 1 << (len(images) - 1).bit_length())
    if len(images) == size:
        return images
    fill = np.zeros((size - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, fill])

"""The same policies on the device: one Keras layer, compiled with ``keras.ops``.

Where the processor cannot keep up with an accelerator, augmentation belongs on it. The
layer reads the same lists as `build_policy` and gives the same images for the same
values drawn; the draws themselves come from Keras's generator.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.augment.device.moves import MOVES, Drawn, gather_source, turn_directions
from arcticdl.augment.device.values import VALUES
from arcticdl.augment.policy import build_policy
from arcticdl.choices import check_names
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class DeviceAugment(keras.layers.Layer):
    """Augments a batch on the device; image, labels and validity stay registered.

    For ``tf.data`` pipelines, own training loops, or a feed whose processes are busy.
    Movements that follow each other are multiplied together and resample once.

    Args:
        steps: A policy's list, as in `build_policy`. Known here are the movements
            without ``crop`` and ``elastic``, and of the values ``gain``, ``offset``,
            ``gamma``, ``invert``, ``noise``, ``speckle`` (uncorrelated, one look or
            more), ``incidence_slope`` and ``band_dropout`` (one band).
        bands: Names of the image's bands.
        vectors: Pairs of bands that turn with the image; ``None`` finds them by name.
        angles: Bands in degrees clockwise from up that turn with the image.
        void_class: Code that pixels from outside get in integer labels.
        seed: Seed of the draws; ``None``: a random one.
        name: Name of the layer.

    Call arguments:
        inputs: The images alone, float ``(batch, y, x, band)``; or a dict with
            ``"image"``, optionally ``"valid"`` (boolean ``(batch, y, x)``), and any
            labels under other keys, ``(batch, y, x)`` or, as yes or no to several
            classes and shares of polygons, ``(batch, y, x, channel)``. Rows and columns
            must be known when the layer is called.
        training: If ``False``, everything stays as it is.

    Returns:
        What came in, augmented; ``"valid"`` is added to a dict that lacks it.

    Raises:
        ValueError: A step is wrong, or has no form for the device; or a label is no map
            of the image's pixels.

    Example:
        >>> layer = DeviceAugment([{"name": "hflip", "p": 1.0}])
        >>> flipped = layer(ops.reshape([1.0, 2.0], (1, 1, 2, 1)))
        >>> ops.convert_to_numpy(flipped).ravel().tolist()
        [2.0, 1.0]
    """

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]],
        *,
        bands: Sequence[str] | None = None,
        vectors: Sequence[Sequence[str | int]] | None = None,
        angles: Sequence[str | int] = (),
        void_class: int = VOID_CLASS,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Autocasting would put 16-bit floats where codes and NaN must survive.
        check_names(bands=bands)
        super().__init__(name=name, autocast=False, **kwargs)
        policy = build_policy(steps, bands=bands, vectors=vectors, angles=angles)
        unknown = [
            str(entry["name"])
            for entry, step in zip(steps, policy.steps, strict=True)
            if type(step) not in MOVES and not _has_device_form(step)
        ]
        if unknown:
            raise ValueError(
                f"These steps have no form for the device: {unknown}. Leave them to "
                "`build_policy`, in the feed."
            )
        self.policy = policy
        self.void_class = void_class
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._own = {
            "steps": [dict(step) for step in steps],
            "bands": None if bands is None else list(bands),
            "vectors": None if vectors is None else [list(pair) for pair in vectors],
            "angles": list(angles),
            "void_class": void_class,
            "seed": seed,
        }

    def call(self, inputs: Any, training: bool = True) -> Any:
        """Augments the batch."""
        if not training:
            return inputs
        if not isinstance(inputs, Mapping):
            image = ops.cast(inputs, "float32")
            return self._augment(image, {}, _all_valid(image))[0]
        rest = dict(inputs)
        image = ops.cast(rest.pop("image"), "float32")
        valid = rest.pop("valid", None)
        _refuse_tables(rest, image)
        valid = _all_valid(image) if valid is None else ops.cast(valid, "bool")
        image, labels, valid = self._augment(image, rest, valid)
        return {"image": image, "valid": valid, **labels}

    def _augment(self, image: Any, labels: dict[str, Any], valid: Any) -> Any:
        draw = Drawn(self.seed_generator, ops.shape(image)[0])
        waiting: list[Any] = []
        for step in self.policy.steps:
            if type(step) in MOVES:
                waiting.append(step)
                continue
            image, labels, valid = self._move(waiting, image, labels, valid, draw)
            waiting = []
            changed = VALUES[type(step)](step, image, valid, draw)
            chosen = draw.chosen(step.p)[:, None, None, None]
            image = ops.where(chosen, changed, image)
        return self._move(waiting, image, labels, valid, draw)

    def _move(
        self, steps: list[Any], image: Any, labels: Any, valid: Any, draw: Drawn
    ) -> Any:
        if not steps:
            return image, labels, valid
        shape = (image.shape[1], image.shape[2])
        if None in shape:
            raise ValueError(
                "Rows and columns of the images must be known. Received: "
                f"{image.shape}. Give the dataset a fixed tile size."
            )
        total = ops.broadcast_to(ops.eye(3, dtype="float32"), (draw.num, 3, 3))
        for step in steps:
            moved = ops.matmul(MOVES[type(step)](step, shape, draw), total)
            total = ops.where(draw.chosen(step.p)[:, None, None], moved, total)
        image, labels, valid = gather_source(
            image, labels, valid, total, self.void_class
        )
        image = turn_directions(image, total[:, :2, :2], self.policy.directions)
        return image, labels, valid

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape: nothing is cropped on the device."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._own


def _refuse_tables(labels: Mapping[str, Any], image: Any) -> None:
    """Refuses labels that are no maps of the image's pixels, such as boxes."""
    size = tuple(image.shape[1:3])
    shapes = {name: tuple(label.shape) for name, label in labels.items()}
    wrong = {name: shape for name, shape in shapes.items() if shape[1:3] != size}
    if wrong:
        raise ValueError(
            "Labels must be maps, (batch, y, x) or (batch, y, x, channel), of the "
            f"image's {size} pixels on the device. Received: {wrong}. Boxes move with "
            "`build_policy`, in the feed."
        )


def _all_valid(image: Any) -> Any:
    return ops.ones_like(image[..., 0], dtype="bool")


def _has_device_form(step: Any) -> bool:
    # Below one look the cube of a normal number is no longer close to gamma noise.
    correlated = getattr(step, "correlation_px", 0) or getattr(step, "enl", (1,))[0] < 1
    return type(step) in VALUES and not correlated and getattr(step, "max_bands", 1) < 2

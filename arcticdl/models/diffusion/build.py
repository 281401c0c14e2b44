"""The network that takes noise away, and the one around it that answers for a scene."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from arcticdl.models.build import decode
from arcticdl.models.card import Card
from arcticdl.models.diffusion.layers import (
    JoinStep,
    Modulate,
    SampleMembers,
    StepEmbedding,
)
from arcticdl.models.encode import build_encoder, encode
from arcticdl.models.heads import check_head, dense_head
from arcticdl.models.layers.answers import StartFrom
from arcticdl.models.options import Regularization, Style
from arcticdl.models.penalties import initialise_weights, penalise_weights
from arcticdl.tasks import read_head, reconcile

Options = Mapping[str, Any]

_STEP_FEATURES = 64  # that tell the step to the levels


def build_denoiser(
    backbone: str | keras.Model = "resnet18",
    decoder: str = "unet",
    *,
    num_bands: int,
    style: Style | Options | None = None,
    regularization: Regularization | Options | None = None,
    backbone_options: Options | None = None,
    decoder_options: Options | None = None,
) -> keras.Model:
    """Builds a network that tells the velocity of a noisy image, given another image.

    Backbone and decoder are those of any other network. The step is told twice: as a
    band beside the image, and by scaling every level of the pyramid.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``build_multitask``.
        decoder: One of ``DECODERS``.
        num_bands: Bands of the image that is given.
        style: As in ``build_multitask``, and so are the others.
        regularization: Likewise.
        backbone_options: Options of the backbone.
        decoder_options: Options of the decoder.

    Returns:
        Model from ``{"image": (batch, y, x, band), "noisy": (batch, y, x, 1), "step":
        (batch,) from 0 to 1}`` to float32 velocities ``(batch, y, x, 1)``.

    Raises:
        ValueError: Unknown names or options.

    Example:
        >>> model = build_denoiser("plain", num_bands=2, backbone_options={"width": 4},
        ...                        decoder_options={"channels": (4, 4, 4, 4, 4)})
        >>> model.output_shape
        (None, None, None, 1)
    """
    style, kept = Style.read(style), Regularization.read(regularization)
    encoder = build_encoder(
        backbone,
        decoder,
        num_bands + 2,
        style=style,
        drop_path=kept.drop_path,
        options=dict(backbone_options or {}),
        pooled=False,
    )
    image = keras.Input((None, None, num_bands), name="image")
    noisy = keras.Input((None, None, 1), name="noisy")
    step = keras.Input((), name="step")
    told = StepEmbedding(name="step_embedding")(step)
    told = layers.Dense(_STEP_FEATURES, activation="silu", name="step_dense0")(told)
    told = layers.Dense(_STEP_FEATURES, activation="silu", name="step_dense1")(told)
    joined = JoinStep(name="join_step")([image, noisy, step])
    features, reference = encode(encoder, joined, None)
    features = {
        level: Modulate(name=f"modulate_{level}")([feature, told])
        for level, feature in features.items()
    }
    decoded = decode(features, decoder, {**style.layers, **(decoder_options or {})})
    assert decoded is not None  # a decoder was given
    spec = check_head("velocity", {"task": "dense_regression"}, kept.dropout)
    velocity = dense_head(decoded, reference, name="velocity", spec=spec)
    inputs = {"image": image, "noisy": noisy, "step": step}
    model = keras.Model(inputs, velocity, name="denoiser")
    initialise_weights(model, style.initializer, keep=encoder.model)
    penalise_weights(model, kept.l1, kept.l2)
    return model


def build_sampler(
    denoiser: keras.Model,
    *,
    name: str,
    card: Options,
    num_members: int = 8,
    num_steps: int = 1000,
    sampling_steps: int = 20,
    seed: int = 0,
) -> keras.Model:
    """Builds the network that answers: an ensemble of images, drawn by the denoiser.

    Args:
        denoiser: From ``build_denoiser``; its weights are shared.
        name: Name of the head.
        card: What the model shall carry; ``card["diffusion"]`` says by ``mean`` and
            ``std`` what units the denoiser's images have, and ``card["starts"]``, where
            there is one of this head, which band they are added to.
        num_members: Members.
        num_steps: Steps of the schedule that the denoiser learns.
        sampling_steps: Steps that sampling takes.
        seed: Of the noise that members begin as.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 ``(batch, y, x, member)``, a head
        of the task ``dense_ensemble``.

    Raises:
        ValueError: More sampling steps than the schedule has, or fewer than 2 members.
        TaskError: The label does not fit.
    """
    head = read_head(name, {"task": "dense_ensemble", "num_members": num_members})
    if card.get("heads"):
        (head,) = reconcile({name: head}, card["heads"]).values()
    scaling, start = card["diffusion"], card.get("starts", {}).get(name)
    size = card.get("tile_size_px", 64)
    side = min(size) if isinstance(size, list | tuple) else int(size)
    image = keras.Input((None, None, len(card["bands"])), name="image")
    x = Card({**card, "heads": {name: head.to_card()}}, name="card")(image)
    drawn = SampleMembers(
        denoiser,
        num_members=num_members,
        num_steps=num_steps,
        sampling_steps=sampling_steps,
        # Windows lie so far apart unless told otherwise.
        period_px=max(side - side // 4, 1),
        seed=seed,
        name="members",
    )(x)
    if start is None:
        last: Any = layers.Rescaling(
            scaling["std"], scaling["mean"], dtype="float32", name=name
        )
        answer = last(drawn)
    else:
        last = StartFrom(
            list(card["bands"]).index(start["band"][0]),
            offset=start["offset"][0] + scaling["mean"],
            scale=start["scale"][0],
            gain=scaling["std"],
            dtype="float32",
            name=name,
        )
        answer = last([drawn, x])
    return keras.Model(image, answer, name="sampler")


def draw_members(sampler: keras.Model, image: Any, noise: Any) -> Any:
    """Draws members that begin as a given noise, in place of the sampler's own.

    Args:
        sampler: From ``build_sampler``, or loaded.
        image: ``(batch, y, x, band)``, scaled as the network was trained.
        noise: Standard normal, ``(batch, y, x, member)``, of any number of members.

    Returns:
        Tensor ``(batch, y, x, member)`` in the label's unit.

    Raises:
        ValueError: The network draws no members.
    """
    drawing = [layer for layer in sampler.layers if isinstance(layer, SampleMembers)]
    if not drawing:
        raise ValueError(
            "`sampler` must be a network of the task dense_ensemble. Received: "
            f"{sampler.name!r}, which draws no members."
        )
    image = keras.ops.convert_to_tensor(image, "float32")
    drawn = drawing[0].draw(image, keras.ops.convert_to_tensor(noise, "float32"))
    last = sampler.layers[-1]
    return last([drawn, image]) if isinstance(last, StartFrom) else last(drawn)

"""A generator and its discriminator as one model, which ``fit`` trains as any other."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import choose
from arcticdl.models.adversarial.discriminator import CONTESTS, build_discriminator
from arcticdl.models.card import get_card


@keras.saving.register_keras_serializable(package="arcticdl")
class AdversarialModel(keras.Model):
    """A network that restores bands, trained against one that judges its patches.

    What it answers, what ``compile`` is told, and what ``loss`` and the metrics say is
    the generator's. In training two others are added to the compiled loss: the
    generator is to make its patches pass for the truth, the discriminator to tell them
    apart. Each step moves both, from the same weights, by one optimiser, in whose state
    each weight has its own part; neither loss moves the other's weights. Clip gradients
    by ``clipnorm``, weight by weight: ``global_clipnorm`` would scale those of either
    network by the norm of both.

    The discriminator sees the image beside what it judges. Where a label is void, truth
    and answer are both replaced by the band itself, and patches count by the share of
    their pixels that is known: void is never judged.

    Args:
        generator: A functional model from ``(batch, y, x, band)`` to values ``(batch,
            y, x, value)``.
        discriminator: From ``build_discriminator``, of the bands and the values.
        index: Number of the band that each value restores.
        offset: What the scaling of these bands has taken off.
        scale: By what it has divided.
        contest: ``"hinge"`` or ``"least_squares"``.
        weight: Of the adversarial loss beside the compiled one, which is in the label's
            unit.

    Raises:
        ValueError: An unknown contest, or a weight that is not above 0.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        index: Sequence[int],
        offset: Sequence[float],
        scale: Sequence[float],
        contest: str = "hinge",
        weight: float = 0.01,
    ) -> None:
        if not weight > 0:
            raise ValueError(f"`weight` must be above 0. Received: {weight}.")
        wanted = choose("contest", contest, CONTESTS)
        super().__init__(generator.input, generator.output, name="adversarial")
        self.generator, self.discriminator = generator, discriminator
        self.index, self.offset, self.scale = list(index), list(offset), list(scale)
        self.contest, self.weight = contest, weight
        self._wanted = wanted
        wrapped = [
            each.layer for each in discriminator.layers if hasattr(each, "layer")
        ]
        self._patch_px = math.prod(convolution.strides[0] for convolution in wrapped)
        self.restoring = keras.metrics.Mean(name="compiled_loss")
        self.fooling = keras.metrics.Mean(name="adversarial_loss")
        self.judging = keras.metrics.Mean(name="discriminator_loss")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss; in training also what the two networks want besides."""
        own = super().compute_loss(x, y, y_pred, sample_weight, training)
        real, fake, patches = self.pairs(x, y, y_pred)
        judging = self.judge(real, ops.stop_gradient(fake), patches, training)
        fooling = self.fool(fake, patches)
        count = ops.shape(x)[0]
        self.restoring.update_state(own, sample_weight=count)
        self.fooling.update_state(fooling, sample_weight=count)
        self.judging.update_state(judging, sample_weight=count)
        # What an epoch is chosen by must not rise because the judge has got better.
        return own + self.weight * fooling + judging if training else own

    def get_metrics_result(self) -> dict[str, Any]:
        """What Keras logs: ``loss`` is the compiled one, in training as elsewhere.

        It is NaN where one of the others is no number, so that a guard that watches it
        ends the training before the judge's weights are kept.
        """
        found = super().get_metrics_result()
        others = found[self.fooling.name] + found[self.judging.name]
        return found | {"loss": found.pop(self.restoring.name) + 0.0 * others}

    def pairs(self, x: Any, y: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        """What is judged, scaled as the bands are, and how much each patch counts.

        Args:
            x: Images, ``(batch, y, x, band)``.
            y: Truths, ``(batch, y, x)`` or ``(batch, y, x, value)``, NaN where void.
            y_pred: Answers, ``(batch, y, x, value)``.

        Returns:
            Truths and answers behind the bands, ``(batch, y, x, band + value)``, and
            weights of patches, 0 to 1.
        """
        image, answer = ops.cast(x, "float32"), ops.cast(y_pred, "float32")
        truth = ops.reshape(ops.cast(y, "float32"), ops.shape(answer))
        known = ops.logical_not(ops.isnan(truth))
        given = ops.take(image, self.index, axis=-1)
        offset, scale = (
            ops.convert_to_tensor(v, "float32") for v in (self.offset, self.scale)
        )
        # Chosen before it is computed with: NaN times 0 would be NaN in gradients.
        truth = ops.where(known, truth, 0.0)
        real = ops.where(known, (truth - offset) / scale, given)
        fake = ops.where(known, (answer - offset) / scale, given)
        shares = ops.mean(ops.cast(known, "float32"), axis=-1, keepdims=True)
        side = self._patch_px
        patches = ops.average_pool(shares, side, side, padding="same")
        return (
            ops.concatenate([image, real], axis=-1),
            ops.concatenate([image, fake], axis=-1),
            patches,
        )

    def judge(self, real: Any, fake: Any, patches: Any, training: bool = True) -> Any:
        """The loss of the discriminator, over truths and answers as ``pairs`` gives."""
        both = self.discriminator(ops.concatenate([real, fake]), training=training)
        of_real, of_fake = ops.split(both, 2)
        wanted = self._wanted
        each = wanted.real(of_real) + wanted.fake(of_fake)
        return _mean_over(each, patches)

    def fool(self, fake: Any, patches: Any) -> Any:
        """The loss of the generator, which leaves the discriminator as it is."""
        learnt = [ops.stop_gradient(v) for v in self.discriminator.trainable_variables]
        fixed = [v.value for v in self.discriminator.non_trainable_variables]
        scores, _ = self.discriminator.stateless_call(
            learnt, fixed, fake, training=False
        )
        return _mean_over(self._wanted.fool(scores), patches)

    def get_config(self) -> dict[str, Any]:
        """Both networks, and what stands between them."""
        names = ("index", "offset", "scale", "contest", "weight")
        both = {"generator": self.generator, "discriminator": self.discriminator}
        told = {n: keras.saving.serialize_keras_object(m) for n, m in both.items()}
        return told | {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "AdversarialModel":
        """Builds both networks anew."""
        both = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("generator", "discriminator")
        }
        return cls(**{**config, **both})


def build_adversarial(
    generator: keras.Model,
    *,
    contest: str = "hinge",
    weight: float = 0.01,
    width: int = 32,
    depth: int = 3,
) -> AdversarialModel:
    """Puts a discriminator of patches beside a network that restores bands.

    Args:
        generator: From ``build_multitask``, with a card whose ``starts`` say which
            bands its one head restores.
        contest: ``"hinge"`` or ``"least_squares"``.
        weight: Of the adversarial loss beside the compiled one.
        width: See ``build_discriminator``.
        depth: Likewise.

    Returns:
        What is to be compiled and fitted. What is to be kept is ``generator``, which
        shares its weights and is a model like any other.

    Raises:
        ValueError: The network restores no bands, or has several heads; or as of
            ``AdversarialModel`` and ``build_discriminator``.
    """
    card = get_card(generator) or {}
    starts = card.get("starts", {})
    if len(starts) != 1 or len(generator.outputs) != 1:
        raise ValueError(
            "`generator` must have one head, whose bands the card's `starts` tell: "
            "truth and answer are judged as they are scaled. Received: starts of "
            f"{sorted(starts)}, {len(generator.outputs)} outputs."
        )
    (start,) = starts.values()
    bands = [str(band) for band in card["bands"]]
    index = [bands.index(band) for band in start["band"]]
    discriminator = build_discriminator(
        len(bands) + len(index), width=width, depth=depth
    )
    return AdversarialModel(
        generator,
        discriminator,
        index=index,
        offset=start["offset"],
        scale=start["scale"],
        contest=contest,
        weight=weight,
    )


def _mean_over(each: Any, patches: Any) -> Any:
    """The mean of patches by their weights; 0 where all are void."""
    return ops.sum(each * patches) / (ops.sum(patches) + 1e-7)

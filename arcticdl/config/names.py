"""Names that must stand in a table: checked without loading what they name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from arcticdl.choices import check_choice


class _Checked:
    """Marks a value that pydantic hands to ``check``, once its type is right."""

    def check(self, value: Any) -> Any:
        """Returns the value, if it is one that may stand here."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class OneOf(_Checked):
    """Marks a text as a name of a table, whose module loads with the first check.

    Attributes:
        argument: Name of the choice, for messages.
        table: ``"module:TABLE"`` of a table that lists its names without Keras.
    """

    argument: str
    table: str

    @property
    def names(self) -> Collection[str]:
        """The table's names, those of plug-ins among them."""
        module, _, attribute = self.table.partition(":")
        found: Mapping[str, Any] = getattr(import_module(module), attribute)
        return found.keys() if isinstance(found, Mapping) else tuple(found)

    def check(self, name: str) -> str:
        """Returns the name, if it is one.

        Raises:
            ValueError: It is none; the message holds the nearest and all names.
            PluginError: A plug-in claims a name that is taken.
        """
        check_choice(self.argument, name, self.names)
        return name

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": sorted(self.names)}


READER = OneOf("reader", "arcticdl.sources.reader:READERS")
BACKBONE = OneOf("backbone", "arcticdl.models.backbones.table:BACKBONES")
DETECTOR = OneOf("detector", "arcticdl.models.detection.table:DETECTORS")
DECODER = OneOf("decoder", "arcticdl.models.decoders.table:DECODERS")
ADAPTER = OneOf("adapter", "arcticdl.models.weights.adapter_rules:ADAPTERS")
ARCHITECTURE = OneOf("architecture", "arcticdl.models.architectures:ARCHITECTURES")
LOSS = OneOf("loss", "arcticdl.losses.table:NAMED_LOSSES")
WEIGHTING = OneOf("class_weights", "arcticdl.tiles.table:WEIGHTINGS")
HEAD_WEIGHTS = OneOf("head_weights", "arcticdl.losses.table:HEAD_WEIGHTS")
METRIC = OneOf("metric", "arcticdl.metrics.table:METRICS")
NORMALIZER = OneOf("normalizer", "arcticdl.tiles.table:NORMALIZERS")
AUGMENTATION = OneOf("augmentation", "arcticdl.augment.table:AUGMENTATIONS")
SPLITTER = OneOf("splitter", "arcticdl.tiles.table:SPLITTERS")
SAMPLER = OneOf("sampler", "arcticdl.tiles.table:SAMPLERS")
OPTIMIZER = OneOf("optimizer", "arcticdl.training.table:OPTIMIZERS")
CALLBACK = OneOf("callback", "arcticdl.training.table:CALLBACKS")
SCHEDULE = OneOf("schedule", "arcticdl.training.table:SCHEDULES")
CALIBRATION = OneOf("method", "arcticdl.evaluation.calibrate.table:METHODS")
STRATUM = OneOf("by", "arcticdl.evaluation.strata.within:STRATUM_MEASURES")
POSTPROCESS = OneOf("postprocess", "arcticdl.inference.table:STEPS")
PRODUCT = OneOf("product", "arcticdl.inference.products.table:PRODUCTS")
TASK = OneOf("task", "arcticdl.tasks.table:TASKS")

CHECKPOINTS = (".ckpt", ".h5", ".hdf5", ".keras", ".npz", ".pt", ".pth", ".safetensors")
"""Endings by which a file of weights without a folder is told from a name."""


def is_path(weights: str) -> bool:
    """Whether ``model.weights`` is a file rather than a name."""
    path = PurePath(weights)
    return len(path.parts) > 1 or path.suffix.lower() in CHECKPOINTS


def check_weights(weights: str, backbone: str) -> None:
    """Refuses a name of weights that a network does not have.

    Args:
        weights: ``imagenet``, a name of `arcticdl weights list` with or without the
            network before it, or a path, which may be any.
        backbone: Name of the network.

    Raises:
        ValueError: Another name; the message holds those that the network has.
    """
    from arcticdl.models.backbones.table import FAMILIES
    from arcticdl.models.weights.table import list_weights

    named = {info.name for info in list_weights(backbone)}
    if is_path(weights) or weights in named:
        return
    known = {name.partition(".")[2] for name in named}
    for family, members in FAMILIES.items():
        if family.startswith("applications:") and backbone in members:
            known.add("imagenet")  # Keras fetches them itself
    if not known:
        raise ValueError(
            f"`weights` must be null or the path of a checkpoint, since {backbone!r} "
            f"has none by name. Received: weights={weights!r}"
        )
    check_choice("weights", weights, known)


@dataclass(frozen=True)
class Step(_Checked):
    """Marks a mapping as one step of ``train.augment``."""

    names = AUGMENTATION

    def check(self, step: dict[str, Any]) -> dict[str, Any]:
        """Returns the step, if it has a name of the table.

        Raises:
            ValueError: It has none, or another.
        """
        if "name" not in step:
            raise ValueError(
                "a step needs its `name`, and may have `p` and arguments, as in "
                "{name: hflip, p: 0.5}"
            )
        self.names.check(step["name"])
        return step

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        name = {"type": "string", "enum": sorted(self.names.names)}
        properties = {"name": name, "p": share}
        return {**handler(schema), "properties": properties, "required": ["name"]}


STEP = Step()

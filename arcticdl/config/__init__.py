"""Experiment configurations: one YAML file, checked before anything runs.

Every model is frozen and refuses unknown keys, so a typo is an error that names its
path. ``${NAME}`` in a YAML string is replaced by the environment variable, and
``key.path=value`` overrides are applied before the check.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from arcticdl.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TileSize = PositiveInt | tuple[PositiveInt, PositiveInt]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Replace(_Section):
    """A file beside the scene's own, found by replacing parts of its path."""

    replace: dict[str, str] = Field(
        description="Text of the path -> what stands there instead."
    )


class ThresholdRule(_Section):
    """Pixels whose bands all lie in the given closed ranges belong to the class."""

    name: str
    where: dict[str, tuple[float, float]] = Field(min_length=1)


class SidesConfig(_Section):
    """Strips beside a thin class, named after the side: teaches what a line divides."""

    line: str = Field(description="The thin class.")
    upper: str = Field(description="Class of the side of the first row.")
    lower: str = Field(description="Class of the other side.")
    width_px: PositiveFloat = 40.0


class LabelConfig(_Section):
    """One label map: from a file beside the scene, or from band thresholds."""

    classes: tuple[str, ...] = Field(min_length=1)
    colors: tuple[str, ...] = ()
    file: Replace | None = Field(None, description="File of the label map.")
    codes: dict[int, int] | None = Field(
        None, description="Raw value -> class code; other raw values are an error."
    )
    rules: tuple[ThresholdRule, ...] = Field(
        (), description="Weak labels: the first rule that holds gives the class."
    )
    sides: SidesConfig | None = Field(
        None, description="Name the background near a line after its two sides."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "LabelConfig":
        if (self.file is None) == (not self.rules):
            raise ValueError("give either `file` or `rules`, and not both")
        names = {rule.name for rule in self.rules} - set(self.classes)
        if names:
            raise ValueError(
                f"rules name classes that are not in `classes`: {sorted(names)}"
            )
        if self.colors and len(self.colors) != len(self.classes):
            raise ValueError("`colors` needs one colour for each of `classes`")
        if self.sides is not None:
            chosen = [self.sides.line, self.sides.upper, self.sides.lower]
            distinct = len({*chosen, self.classes[0]}) == 4
            if not distinct or not set(chosen) <= set(self.classes):
                raise ValueError(
                    "`sides` needs three different names of `classes`, without its "
                    f"first, the background; got {chosen} of {list(self.classes)}"
                )
        return self


class VoidConfig(_Section):
    """A mask file: where any of its bands is above zero, labels become void."""

    file: Replace


class DataConfig(_Section):
    """Which scenes, with which bands and labels."""

    scenes: str = Field(description="Path or glob; each match is one scene.")
    stack: tuple[Replace, ...] = Field(
        (), description="Further files of the same scene, stacked band by band."
    )
    each_index: bool = Field(
        False, description="Each image of an (N, y, x) array is one scene."
    )
    bands: tuple[str, ...] | None = Field(
        None, description="Names of the bands in file order."
    )
    use_bands: tuple[str, ...] | None = Field(None, description="Bands to keep.")
    labels: dict[str, LabelConfig] = Field(min_length=1)
    void: VoidConfig | None = None
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="Scene attribute -> regular expression on the path, one group.",
    )
    rename: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Attribute -> {found value: new value}."
    )

    @model_validator(mode="after")
    def _patterns(self) -> "DataConfig":
        for name, pattern in self.attributes.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"attributes.{name}: {error}") from error
            if groups != 1:
                raise ValueError(f"attributes.{name} needs exactly one (group)")
        return self


class TilesConfig(_Section):
    """How scenes are cut."""

    size_px: TileSize = 256
    overlap_px: int = Field(0, ge=0)
    edge: Literal["shift", "pad", "drop"] = "shift"
    min_valid_fraction: Fraction = 0.0
    store: str | None = Field(None, description="Default: data/NAME.tiles.")


class FoldsConfig(_Section):
    """Which tiles train, which are held out."""

    n_splits: int = Field(3, ge=2)
    group: str = Field("scene_id", description="Manifest column that must not leak.")
    seed: int = 0
    train_only: dict[str, str] = Field(
        default_factory=dict, description="Column -> value that training tiles have."
    )
    test_only: dict[str, str] = Field(
        default_factory=dict, description="Column -> value that test tiles have."
    )
    validation_groups: int = Field(
        0,
        ge=0,
        description="Groups of the training fold kept for early stopping; 0: none.",
    )


class ModelConfig(_Section):
    """The network; ``options`` go to ``build_segmenter``."""

    backbone: str = "resnet18"
    decoder: str = "unet"
    weights: str | None = None
    adapter: str = "by_band"
    options: dict[str, Any] = Field(default_factory=dict)


class LossConfig(_Section):
    """A name of ``arcticdl.losses.LOSSES`` and its arguments."""

    name: str = "DiceFocal"
    options: dict[str, Any] = Field(default_factory=dict)


class EarlyStoppingConfig(_Section):
    """When training ends before its last epoch; needs ``validation_groups``."""

    monitor: str = "val_mean_iou"
    mode: Literal["min", "max"] = "max"
    patience: PositiveInt = 10
    min_delta: float = 0.0


class TrainConfig(_Section):
    """The optimisation."""

    batch_size: PositiveInt = 8
    epochs: PositiveInt = 20
    repeats: PositiveInt = Field(1, description="Passes over the tiles in an epoch.")
    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: Fraction = 0.05
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: PositiveFloat | None = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Momentum of averaged weights, kept at the end."
    )
    normalizer: str = "zscore"
    augment: tuple[dict[str, Any], ...] = ()
    early_stopping: EarlyStoppingConfig | None = None
    jit_compile: bool = True
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"


class PredictConfig(_Section):
    """How a whole scene is mapped."""

    tile_size_px: TileSize | None = Field(
        None, description="Window; default: the tile size of training."
    )
    overlap_px: int | None = Field(None, ge=0)
    batch_size: PositiveInt = 4
    tta: Literal["none", "hflip", "d4"] = "none"
    line: str | None = Field(
        None, description="Class to reduce to a one-pixel line as well."
    )


class Experiment(_Section):
    """One experiment, complete."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    seed: int = 0
    data: DataConfig
    tiles: TilesConfig = TilesConfig()
    folds: FoldsConfig = FoldsConfig()
    label: str | None = Field(None, description="Label to learn; default: the only one")
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()
    baselines: bool = Field(
        False, description="Score a majority map and a per-pixel classifier as well."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        if self.train.early_stopping and not self.folds.validation_groups:
            raise ValueError(
                "`train.early_stopping` needs `folds.validation_groups` >= 1: the "
                "held-out fold must not choose the epoch"
            )
        if self.train.early_stopping and self.train.ema:
            raise ValueError(
                "`train.ema` and `train.early_stopping` do not go together: validation "
                "would score the weights of the moment, not their average"
            )
        label = self.label_name
        if label not in self.data.labels:
            raise ValueError(
                f"`label` must be one of {sorted(self.data.labels)}, got {label!r}"
            )
        line = self.predict.line
        if line is not None and line not in self.data.labels[label].classes:
            raise ValueError(
                "`predict.line` must be one of "
                f"{sorted(self.data.labels[label].classes)}, got {line!r}"
            )
        return self

    @property
    def label_name(self) -> str:
        """The label that is learnt."""
        return self.label or next(iter(self.data.labels))

    @property
    def line_class(self) -> str | None:
        """Name of the line's class as the store writes it, without blanks."""
        line = self.predict.line
        return None if line is None else line.replace(" ", "_")

    @property
    def store_path(self) -> Path:
        """Where the tile store lies."""
        return Path(self.tiles.store or f"data/{self.name}.tiles")


def _expand(value: Any, path: str = "") -> Any:
    """Replaces ``${NAME}`` in every string, naming the key whose variable is unset."""
    if isinstance(value, dict):
        return {
            _expand(key, path): _expand(item, f"{path}.{key}".lstrip("."))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_expand(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(
                f"`{path}` uses ${{{name}}}, which is not set. Set the environment "
                f"variable, for example: export {name}=/path/to/folder"
            )
        return os.environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", variable, value)


def _override(tree: dict[str, Any], text: str) -> None:
    """Applies one ``key.path=value``; the value is read as YAML."""
    key, sep, value = text.partition("=")
    if not sep or not key.strip():
        raise ConfigError(f"`--set` needs key.path=value. Received: {text!r}.")
    *parents, last = key.strip().split(".")
    node = tree
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"`--set {text}`: `{part}` holds a value, not a section.")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"`--set {text}`: the value is not YAML.") from error


def _explain(error: ValidationError, path: Path) -> str:
    lines = [f"{path} is not a valid configuration:"]
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "(top)"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"unknown key. {_choices(where)}"
        elif item["type"] != "missing":
            shown = repr(item.get("input"))
            message += f". Received: {shown if len(shown) < 80 else shown[:77] + '...'}"
        lines.append(f"  {where}: {message}")
    return "\n".join(lines)


def _choices(where: str) -> str:
    """The sorted keys of the section that holds the unknown key ``where``."""
    model: Any = Experiment
    for part in where.split(".")[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        found = field and [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not found:
            continue
        model = found[0]
    return f"Known keys here: {', '.join(sorted(model.model_fields))}"


def load_config(path: str | Path, overrides: tuple[str, ...] = ()) -> Experiment:
    """Reads, completes and checks a configuration.

    Args:
        path: YAML file.
        overrides: ``key.path=value`` texts, applied in order before the check.

    Returns:
        The checked experiment.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The YAML cannot be read, an environment variable is not set, a
            key is unknown or a value is out of range; the message names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No configuration at {path}. See the files in configs/."
        )
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections, such as `data:` and `model:`.")
    for text in overrides:
        _override(tree, text)
    try:
        return Experiment.model_validate(_expand(tree))
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error


def dump_config(experiment: Experiment) -> str:
    """The resolved configuration as YAML."""
    tree = experiment.model_dump(mode="json", exclude_defaults=False)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)

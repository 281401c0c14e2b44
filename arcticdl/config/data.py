"""The ``data`` section: which scenes, with which bands and labels."""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from arcticdl.config.labels import LabelConfig, VoidConfig
from arcticdl.config.names import READER
from arcticdl.config.section import FileRef, Section
from arcticdl.config.sources import (
    ConditionConfig,
    GapsConfig,
    GridConfig,
    SeriesConfig,
    SourceConfig,
    TableConfig,
)
from arcticdl.files import safe_name

_TAKEN = ("band", "image", "lat", "lon", "spatial_ref", "valid", "x", "y")
"""``scene.contract.TAKEN``, which is not loaded to read a configuration."""


class DataConfig(Section):
    """Which scenes, with which bands and labels."""

    scenes: str | None = Field(
        None,
        min_length=1,
        description="Path, address or glob (of s3:// and gs:// too); each match is one "
        "scene.",
    )
    table: TableConfig | None = Field(
        None, description="A table of scenes; further columns become attributes."
    )
    stack: tuple[FileRef, ...] = Field(
        (), description="Further files of the same scene, stacked band by band."
    )
    each_index: bool = Field(
        False,
        description="Each image of an (N, y, x) array, or each time of a NetCDF file, "
        "is one scene; a file of a single image is one as well.",
    )
    reader: Annotated[str, READER] | None = Field(
        None, description="What opens the files; null: their content decides."
    )
    reader_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the reader, and attributes such as sensor and time.",
    )
    bands: tuple[str, ...] | None = Field(
        None, description="Names of the bands in file order."
    )
    use_bands: tuple[str, ...] | None = Field(
        None, description="Bands to keep, aligned and derived ones among them."
    )
    grid: GridConfig | None = Field(
        None, description="Bring scenes onto a grid first; null: they keep their own."
    )
    align: tuple[SourceConfig, ...] = Field(
        (), description="Further sources, brought onto the scene's grid."
    )
    derive: tuple[dict[str, Any], ...] = Field(
        (), description="Bands made of bands, and masks; each step names a formula."
    )
    gaps: GapsConfig | None = Field(
        None, description="Gaps that labels with `restores` fill; null: none."
    )
    condition: ConditionConfig | None = Field(
        None,
        description="A label of classes that a generator sees in place of the image, "
        "to draw one; null: the image is seen.",
    )
    synthetic: str | None = Field(
        None,
        min_length=1,
        description="Glob of scenes that `arcticdl synthesize` has made: they train "
        "where all that their generator has learnt from does, and are never tested.",
    )
    series: SeriesConfig | None = Field(
        None, description="Scenes as dates of series; null: each is for itself."
    )
    region: FileRef | None = Field(
        None, description="Vector file of areas; what lies outside is void."
    )
    labels: dict[str, LabelConfig] = Field(
        default_factory=dict,
        description="Name of a label -> its map and classes; none: unlabelled tiles.",
    )
    void: VoidConfig | None = Field(
        None, description="A mask beside the scene where no label counts."
    )
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
        useless = sorted(set(self.rename) - set(self.attributes))
        if useless and self.table is None:
            raise ValueError(f"`rename` names {useless}, which `attributes` lacks")
        return self

    @model_validator(mode="after")
    def _scenes_come_from_somewhere(self) -> "DataConfig":
        if (self.scenes is None) == (self.table is None):
            raise ValueError("give one of `scenes` and `table`")
        if self.each_index and self.table is not None:
            raise ValueError("`each_index` goes with `scenes`, not with `table`")
        refs = {"region": self.region, "void": self.void and self.void.file}
        refs |= {f"stack.{i}": ref for i, ref in enumerate(self.stack)}
        refs |= {f"align.{i}": source.file for i, source in enumerate(self.align)}
        refs |= {f"labels.{name}": label.file for name, label in self.labels.items()}
        told = [name for name, ref in refs.items() if ref and ref.column]
        if told and self.table is None:
            raise ValueError(f"{told} name columns of `table`, which is absent")
        return self

    @model_validator(mode="after")
    def _labels_have_names_of_their_own(self) -> "DataConfig":
        taken = sorted(set(self.labels) & set(_TAKEN))
        if taken:
            raise ValueError(
                f"a label cannot be called {taken[0]!r}, which has a meaning in every "
                f"scene, as have {sorted(set(_TAKEN) - {taken[0]})}; name it otherwise"
            )
        for name in self.labels:
            if not name.strip("._") or safe_name(name) != name:
                raise ValueError(
                    "a label must have a name that can name a folder: letters, digits "
                    f"and '._-+=,@', no leading dot. Received: {name!r}, such as "
                    f"{re.sub(r'[^a-zA-Z0-9]+', '_', name)!r} would do"
                )
        return self

    @model_validator(mode="after")
    def _gaps_are_filled(self) -> "DataConfig":
        filled = any(label.restores for label in self.labels.values())
        if self.gaps is not None and not filled:
            raise ValueError(
                "`gaps` are filled by a label with `band` and `restores`, which name "
                "the bands that have them; no label has `restores`"
            )
        return self

    @model_validator(mode="after")
    def _condition_is_of_classes(self) -> "DataConfig":
        if self.condition is None:
            return self
        name, label = self.condition.label, self.labels.get(self.condition.label)
        if label is None or label.kind != "class" or label.target != "pixel":
            found = [
                n
                for n, each in self.labels.items()
                if each.kind == "class" and each.target == "pixel"
            ]
            raise ValueError(
                "`condition.label` must name a label that is one class of each pixel: "
                f"{sorted(found)}. Received: {name!r}"
            )
        beside = {
            "gaps": self.gaps,
            "series": self.series,
            "synthetic": self.synthetic,
            "restores": any(label.restores for label in self.labels.values()),
        }
        given = [key for key, value in beside.items() if value]
        if given:
            raise ValueError(
                f"{given} do not go with `condition`, whose network sees no image; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _corrections_are_of_scenes(self) -> "DataConfig":
        corrected = [n for n, label in self.labels.items() if label.corrections]
        if corrected and self.series is not None:
            raise ValueError(
                f"labels {corrected} have `corrections`, which `series` do not take; "
                "correct their files"
            )
        return self

    @model_validator(mode="after")
    def _forecasts_are_of_a_quantity(self) -> "DataConfig":
        context = None if self.series is None else self.series.context
        if context is None:
            return self
        label = self.labels.get(context.of)
        if label is None or label.kind != "value" or label.target != "pixel":
            found = sorted(
                name
                for name, each in self.labels.items()
                if each.kind == "value" and each.target == "pixel"
            )
            raise ValueError(
                "`series.context.of` must name a label that is a quantity of pixels: "
                f"{found}. Received: {context.of!r}"
            )
        own = (label.band,) if isinstance(label.band, str) else label.band or ()
        if any(context.delay_steps.get(band) for band in own):
            raise ValueError(
                f"`series.context.delay_steps` delays {label.band!r}, which is what is "
                "forecast: baselines begin from its last date"
            )
        return self

    @property
    def answered(self) -> dict[str, LabelConfig]:
        """The labels that can be learnt: of a series one for each date to answer."""
        if self.series is None:
            return self.labels
        steps = self.series.steps
        return {
            steps.named(name, step): label
            for step in steps.answers
            for name, label in self.labels.items()
        }

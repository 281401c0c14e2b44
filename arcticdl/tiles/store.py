"""Reading a tile store, fast and without Keras."""

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.boxes import clip_boxes
from arcticdl.choices import check_choice, check_choices
from arcticdl.errors import StoreError
from arcticdl.scene.stats import BandStats
from arcticdl.tiles import layout, signature
from arcticdl.tiles.labels import SCORED, LabelInfo
from arcticdl.tiles.manifest import (
    ARRAY_ROW,
    count_columns,
    read_manifest,
    value_columns,
)
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.query import select_rows


class TileStore:
    """A tile store on disk, opened by `open_store`; cheap to open and to pickle.

    A store may grow, and its folds may change, while it is open; where another process
    has written it anew, reading stops.

    Attributes:
        path: The folder.
        tile_size_px: ``(height, width)`` of every tile.
        bands: Names of the bands, in order.
        labels: {name: `LabelInfo`}.
        fingerprint: sha-256 of the content: equal for equal tiles in equal order,
            whatever the compression. The other files have signatures of their own.
    """

    num_times: int = 1
    """Dates whose bands an image holds; see `SeriesStore`."""

    num_context: int = 0
    """Bands behind those of the dates; see `ForecastStore`."""

    starts: Mapping[str, str] = {}
    """Label -> band that its answer starts from; see `ForecastStore`."""

    step_h: float | None = None  # from date to date of what is forecast
    limits: tuple[float, float] = (-math.inf, math.inf)
    """Least and greatest value of what is forecast; see `ForecastStore`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._identity = signature.identify(self.path)
        self.about = signature.open_signed(self.path)
        self.tile_size_px: tuple[int, int] = tuple(self.about["tile_size_px"])
        self.bands: tuple[str, ...] = tuple(self.about["bands"])
        self.labels = {
            label["name"]: LabelInfo.from_dict(label) for label in self.about["labels"]
        }
        self.fingerprint: str = self.about["fingerprint"]
        self._arrays: dict[str, Any] = {}
        self._stats: dict[str, BandStats] = {}

    def __len__(self) -> int:
        return int(self.about["num_tiles"])

    @property
    def parts(self) -> "Sequence[TileStore]":
        """The stores on disk that its tiles lie in: itself; see `JoinedStore`."""
        return (self,)

    @property
    def keeps_pixels(self) -> bool:
        """Whether pixels are in the store; else `SceneStore` reads them."""
        return self.about.get("keeps_pixels", True)

    def __repr__(self) -> str:
        height, width = self.tile_size_px
        return (
            f"TileStore({str(self.path)!r}: {len(self)} tiles of {height} x {width} "
            f"px, bands {list(self.bands)}, labels {list(self.labels)})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = {key: value for key, value in state.items() if key != "fingerprint"}
        self.__init__(**known)  # type: ignore[misc]
        if not signature.goes_on(self.about, state["fingerprint"]):
            raise self._replaced()

    def refresh(self) -> None:
        """Takes note of what has changed on disk: more tiles, or other folds.

        Raises:
            StoreError: The store was written anew, or is damaged.
        """
        self.check_current()
        state = self.__getstate__()
        self.__dict__.clear()
        self.__setstate__(state)

    def check_current(self) -> None:
        """Refuses to go on where another process has written the store anew.

        Raises:
            StoreError: The tiles are no longer those of the store that was opened.
        """
        now = signature.identify(self.path)
        if now is None or self._identity is None or now.arrays != self._identity.arrays:
            raise self._replaced()
        if now == self._identity:
            return
        if not signature.goes_on(signature.read_about(self.path), self.fingerprint):
            raise self._replaced()
        self._identity = now

    def _replaced(self) -> StoreError:
        return StoreError(
            "A tile store must not be replaced while it is in use. Received: "
            f"{self.path}, which was written anew since it was opened. Open it again, "
            "and begin anew what was built on it."
        )

    @cached_property
    def manifest(self) -> Any:
        """The manifest: a GeoDataFrame whose row ``i`` is tile ``i``."""
        content = signature.read_signed(self.path, self.about, layout.MANIFEST)
        manifest = read_manifest(content, self.path / layout.MANIFEST)
        if (
            len(manifest) != len(self)
            or (manifest["tile_id"].to_numpy() != np.arange(len(self))).any()
        ):
            raise StoreError(
                f"The manifest must have one row a tile, in the order of the tiles. "
                f"Received: {len(manifest)} rows for {len(self)} tiles in "
                f"{self.path}. It was edited: restore it, or prepare the store anew; "
                "to leave tiles out, pass their indices instead."
            )
        return manifest

    @cached_property
    def array_rows(self) -> np.ndarray:
        """(tile,) int64: where each tile lies in the arrays; others lie by number."""
        rows = self.manifest.get(ARRAY_ROW, np.arange(len(self)))
        return np.asarray(rows, "int64")

    def select(self, where: str) -> np.ndarray:
        """The tiles of which an expression over the manifest is true.

        Args:
            where: Such as ``"season == 'melt' and valid_fraction > 0.5"``; see
                `query.select_rows`. Columns that are no plain names stand in
                backticks: ``"`ice:water` > 0"``.

        Returns:
            Sorted tile indices, int64.

        Raises:
            ValueError: No condition, or a column that the manifest does not have.
        """
        return select_rows(self.manifest, where)

    @cached_property
    def scenes(self) -> dict[str, dict[str, Any]]:
        """What is known of each scene: {scene_id: attributes, grid, statistics}."""
        content = signature.read_signed(self.path, self.about, layout.SCENES_JSON)
        return json.loads(content)

    def scene_stats(self, scene_id: str) -> BandStats:
        """Statistics of a whole scene's valid pixels, tiled or not.

        Raises:
            KeyError: The store holds no such scene.
        """
        if scene_id not in self._stats:
            self._stats[scene_id] = BandStats.from_dict(self.scenes[scene_id]["stats"])
        return self._stats[scene_id]

    def scene_boxes(self, label: str, scene_id: str, *, cut: bool = True) -> np.ndarray:
        """The boxes of a whole scene, not cut by tiles.

        Args:
            label: Name of a label of boxes.
            scene_id: Of the scene.
            cut: Cut them at the edges of the scene, and ignore those of which it shows
                too little, as tiles do; else they are as they were marked.

        Returns:
            float32 ``(n, 6)`` in pixels of the scene, ignored ones among them; see
            `arcticdl.boxes.form`.

        Raises:
            KeyError: The store holds no such scene.
            ValueError: The store holds no such label, or it is none of boxes.
        """
        info = self.labels[self.check_label(label)]
        if not info.is_object:
            known = sorted(n for n, i in self.labels.items() if i.is_object)
            raise ValueError(
                f"`label` must be one of boxes, of {known}. Received: {label!r}."
            )
        rows = self.scenes[scene_id]["boxes"][label]
        boxes = np.asarray(rows, "float32").reshape(-1, 6)
        if not cut:
            return boxes
        height, width = self.scenes[scene_id]["shape_px"]
        return clip_boxes(boxes, (height, width), **info.rule._asdict())[0]

    def class_counts(self, label: str) -> np.ndarray:
        """What each tile holds of a label, where it is not void and the image valid.

        Returns:
            (tile, class) int64: pixels or objects of each class, or 1 for the class of
            the whole image. Of yes-or-no channels those that say yes, of float
            channels those scored: (tile, channel); of shares what they make of a class.
            Of a float label without channels: (tile, 1), the scored pixels.
        """
        columns = count_columns(self.labels[self.check_label(label)])
        return self.manifest[columns].to_numpy("int64")

    def scored_counts(self, label: str) -> np.ndarray:
        """Valid pixels of each tile whose value is not void: (tile,) int64.

        Of a label of images: 1 where it has one, else 0. Of boxes: the objects.
        """
        info = self.labels[self.check_label(label)]
        if info.num_channels:
            column = self.manifest[f"{label}:{SCORED}"].to_numpy("int64")
            return column if info.is_pixel else np.minimum(column, 1)
        return self.class_counts(label).sum(1)

    def image_labels(self, label: str) -> np.ndarray:
        """A label of whole images: (tile,) or (tile, channel), in the label's dtype.

        Raises:
            ValueError: The store holds no such label, or it has a value a pixel.
        """
        info = self.labels[self.check_label(label)]
        if not info.is_image:
            raise ValueError(
                f"`label` must be of whole images. Received: {label!r}, which is of "
                f"each {info.target}: use `read`."
            )
        columns = value_columns(info)
        if info.num_channels:
            return self.manifest[columns].to_numpy(info.dtype)
        # One column alone is not copied: this is asked for with every batch.
        return self.manifest[columns[0]].to_numpy(info.dtype)

    def check_label(self, label: str) -> str:
        """Returns the name of a label that the store holds.

        Raises:
            ValueError: It holds no such label.
        """
        check_choice("label", label, self.labels)
        return label

    def check_indices(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns tile indices as a one-dimensional int64 array.

        Raises:
            IndexError: An index lies outside the store.
            ValueError: Not whole numbers, or not one-dimensional.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ValueError(
                "`indices` must be a one-dimensional array of whole numbers. "
                f"Received: shape {chosen.shape}, dtype {chosen.dtype}."
            )
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(
                f"`indices` must lie in 0...{len(self) - 1}. Received: "
                f"{int(chosen.min())}...{int(chosen.max())}."
            )
        return chosen.astype("int64")

    def read(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Reads tiles.

        Args:
            indices: Tiles, in any order.
            names: Arrays to read, of ``"image"``, ``"valid"`` and the labels; default
                all.

        Returns:
            {"image": (n, y, x, band) in the source dtype, "valid": (n, y, x) bool,
            label: (n, y, x) or, with channels, (n, y, x, channel); of whole images
            (n,) or (n, channel); of boxes (n, max_boxes, 6)}.

        Raises:
            StoreError: A tile is damaged; the message names it. Others still read. Or
                the store was written anew since it was opened.
        """
        return self.read_async(indices, names).result()

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> PendingRead:
        """Starts to read tiles in the background; its ``result()`` is as of `read`."""
        return PendingRead(self, self.check_indices(indices), self._names(names))

    def stream(
        self,
        batches: Iterable[Sequence[int] | np.ndarray],
        *,
        labels: Sequence[str] | None = None,
        prefetch: int = 3,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Reads batch after batch, the next ones in the background.

        Args:
            batches: Tiles of each batch.
            labels: Labels to read beside image and ``valid``; default all.
            prefetch: Batches that are being read ahead.
        """
        names = ["image", "valid", *(self.labels if labels is None else labels)]
        pending: deque[PendingRead] = deque()
        for batch in batches:
            pending.append(self.read_async(batch, names))
            if len(pending) > prefetch:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def to_xarray(self, chunks: Any = None) -> Any:
        """The store as an `xarray.Dataset` over (tile, y, x, band), read lazily.

        The channels of a label have the axis ``NAME_channel``; labels of whole images
        have the axis ``tile`` alone.

        Args:
            chunks: As in `xarray.open_zarr`; ``{}`` gives dask arrays.
        """
        data = layout.open_dataset(layout.arrays_of(self.path, self.about), chunks)
        held = ARRAY_ROW in self.manifest
        data = data.isel(tile=self.array_rows if held else slice(len(self)))
        columns = ("scene_id", "group", "row", "col", "time", "valid_fraction")
        table = {c: self.manifest[c].to_numpy() for c in columns}
        coords: dict[str, Any] = {c: ("tile", values) for c, values in table.items()}
        for name, info in self.labels.items():
            if info.is_image:
                data[name] = (("tile", *info.dims), self.image_labels(name))
            if info.num_channels:
                coords[info.dims[-1]] = list(info.channels)
        return data.assign_coords(band=list(self.bands), **coords)

    def array(self, name: str) -> Any:
        """The TensorStore of one array.

        Raises:
            StoreError: It is absent, or not as the store's description has it, or the
                store was prepared without pixels.
        """
        if not self.keeps_pixels:
            raise StoreError(
                "A store must hold pixels to be read by itself. Received: "
                f"{self.path}, prepared without. Read it with its scenes: `SceneStore`."
            )
        if name not in self._arrays:
            shape, dtype = self._array_type(name)
            where = layout.arrays_of(self.path, self.about)
            self._arrays[name] = layout.open_tiles(where, name, shape, dtype)
        return self._arrays[name]

    def _array_type(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape of one tile, and type, of an array."""
        if name == "image":
            return (*self.tile_size_px, len(self.bands)), self.about["dtype"]
        if name == "valid":
            return self.tile_size_px, "bool"
        info = self.labels[name]
        return info.tile_shape(self.tile_size_px), info.dtype

    def _names(self, names: Sequence[str] | None) -> list[str]:
        known = ["image", "valid", *self.labels]
        check_choices("names", names or (), known)
        return known if names is None else list(names)

    @cached_property
    def fully_valid(self) -> np.ndarray:
        """(tile,) booleans: tiles without an invalid pixel."""
        return self.manifest["valid_fraction"].to_numpy() == 1.0

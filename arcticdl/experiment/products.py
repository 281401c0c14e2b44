"""What a prediction leaves in a folder: each scene's files together, or a table."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import xarray as xr

from arcticdl.evaluation.run_folder import network_tag
from arcticdl.files import (
    refuse_existing,
    refuse_sources,
    remove_orphans,
    replace_folder,
    temporary_path,
    write_text,
)
from arcticdl.inference.lines import LineRule, remove_line_maps, write_line_maps
from arcticdl.inference.maps import NETCDF, SceneMaps
from arcticdl.inference.predict import fill_maps
from arcticdl.inference.predictor import Predictor
from arcticdl.inference.products.gridded import place_on_grid, write_on_grid
from arcticdl.inference.products.table import PRODUCTS
from arcticdl.inference.products.write import (
    check_products,
    read_products,
    write_products,
)
from arcticdl.scene import is_swath
from arcticdl.sources.formats.geotiff import open_geotiff

MODEL_TAG = "arcticdl_models"
"""Tag of a map with the digest of the models that made it."""


class SceneWriter:
    """Writes the maps of scenes and what is made of them, all files of a scene at once.

    A scene's files are made in a hidden folder and moved when all are there, the chief
    map last: where it stands, the scene is done.

    Args:
        predictor: Models that are ready.
        models: Their files, whose digest the maps carry.
        products: As for ``arcticdl.inference.write_products``.
        tags: What else the maps say of their origin.
        grid: Options of ``arcticdl.grid.align`` for maps of swaths; ``None``: they stay
            on 2-D lat/lon.
        overlap_px: Overlap of windows; ``None``: a quarter.
        resume: Whether scenes that the same models finished are left alone.
        overwrite: Whether existing files are replaced.
        sources: Files of the scenes, which never are.

    Raises:
        ValueError: An unknown product or option.
    """

    def __init__(
        self,
        predictor: Predictor,
        models: Sequence[Path],
        *,
        products: Sequence[Any],
        tags: Mapping[str, str],
        grid: Mapping[str, Any] | None = None,
        overlap_px: int | None,
        resume: bool,
        overwrite: bool,
        sources: Sequence[str] = (),
    ) -> None:
        self.sources = sources
        self.predictor, self.overlap_px = predictor, overlap_px
        self.products, self.grid = read_products(products), grid
        self.resume, self.overwrite = resume, overwrite
        finish: list[Any] = [layer.finish_tags() for layer in predictor.layers]
        finish += [dict(grid)] if grid else []
        usual = {"tta": "none", "mc_dropout": None}
        finish += [predictor.averaged] if predictor.averaged != usual else []
        finish += self._line_told()
        self.digest = digest_of(models, json.dumps(finish) if any(finish) else "")
        self.tags = {MODEL_TAG: self.digest, **network_tag(models), **tags}

    def _line_told(self) -> list[Any]:
        """How the line is traced, where the models' files do not tell all of it."""
        line = self.predictor.line
        of_card = LineRule.read((self.predictor.card or {}).get("line"))
        if line == of_card and (line is None or line.between is None):
            return []
        return [asdict(line) if line is not None else {"line": None}]

    def ending(self, scene: xr.Dataset) -> str:
        """Of the chief map's file: NetCDF where it stays on 2-D lat/lon."""
        return NETCDF if is_swath(scene) and not self._moves(scene) else ".tif"

    def check(self, scene: xr.Dataset, target: Path) -> None:
        """Refuses, before any scene is mapped, what could not be written.

        Raises:
            ValueError: The maps would lack what a product or the line needs.
            FileExistsError: A file exists, and is not to be replaced or resumed.
        """
        place = scene
        if self.grid is not None and self._moves(scene):
            place = place_on_grid(scene, self.grid)
        if is_swath(place) and target.suffix.lower() != NETCDF:
            raise ValueError(
                "Maps of a scene on 2-D lat/lon are written as NetCDF: name a file "
                "that ends in .nc, or bring them to a grid with `predict.grid`. "
                f"Received: {target}"
            )
        if is_swath(place) and self.predictor.line is not None:
            raise ValueError(
                "A line is traced on a grid: bring the maps to one with "
                f"`predict.grid`. Received: {scene.attrs.get('scene_id')!r} on 2-D "
                "lat/lon."
            )
        if self._moves(scene) and target.suffix.lower() == NETCDF:
            raise ValueError(
                "Maps on a grid (`predict.grid`) are written as GeoTIFF, and as NetCDF "
                f"by the product 'netcdf'. Received: {target}"
            )
        maps = self._maps(place, None).empty()
        check_products(self.products, maps)
        stem = target.with_suffix("")
        chosen = [PRODUCTS[name] for name in self.products]
        found = [path for each in chosen for path in each.files(maps, stem)]
        made = dict.fromkeys((target, *found))  # a product may be the map itself
        refuse_sources(made, self.sources)
        if not (self.resume or self.overwrite):
            _refuse([path for path in made if path.exists()])

    def write_all(
        self, scenes: Sequence[xr.Dataset], targets: Sequence[Path]
    ) -> list[Path]:
        """Maps scenes one after the other.

        What is made of a scene's maps is made while the network maps the next one.

        Args:
            scenes: The scenes.
            targets: File of each chief map; the others stand beside it.

        Returns:
            Their files.

        Raises:
            FileExistsError: One exists, and is not to be replaced or resumed.
        """
        written: list[Path] = []
        finishing: Future[list[Path]] | None = None
        with ThreadPoolExecutor(1, "products") as pool:
            for scene, target in zip(scenes, targets, strict=True):
                begun = self._begin(scene, target)
                if finishing is not None:
                    try:
                        written += finishing.result()
                    except BaseException:
                        begun.discard()
                        raise
                finishing = pool.submit(self._finish, begun)
            written += finishing.result() if finishing is not None else []
        return written

    def _begin(self, scene: xr.Dataset, target: Path) -> "_Begun":
        """Maps a scene into a hidden folder, unless that was done before."""
        hidden = target.with_suffix("")
        if target.parent.is_dir():
            remove_orphans(hidden)
        if target.exists() and self.resume and not self.overwrite:
            self._check_same_models(target)
            return _Begun(scene, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        begun = _Begun(scene, target, temporary_path(hidden))
        assert begun.folder is not None
        begun.folder.mkdir()
        try:
            return replace(begun, maps=self._make_maps(scene, begun.made))
        except BaseException:
            begun.discard()
            raise

    def _finish(self, begun: "_Begun") -> list[Path]:
        """Makes what belongs to the maps of a scene, and gives all files their names.

        Returns:
            Its files.
        """
        scene, target = begun.scene, begun.target
        if begun.folder is None:
            return list(dict.fromkeys([target, *self._complete(scene, target)]))
        try:
            self._make_products(begun)
            return self._publish(begun.folder, target)
        finally:
            begun.discard()

    def _moves(self, scene: xr.Dataset) -> bool:
        """Whether the maps of a scene are brought to another grid."""
        return self.grid is not None and is_swath(scene)

    def _maps(self, scene: xr.Dataset, out: Path | None) -> SceneMaps:
        layers = self.predictor.layers_of("pixel")
        return SceneMaps(scene, out, layers, overwrite=True, tags=self.tags)

    def _make_maps(self, scene: xr.Dataset, target: Path) -> xr.Dataset | None:
        """Writes the maps; `None` where nothing more is made of them."""
        given, image_stats = self.predictor.prepare(scene, None)
        with self._first_map(target, scene) as first:
            files = self._maps(given, first)
            fill_maps(self.predictor, given, files, image_stats, self.overlap_px)
            if first == target and not self.products and self.predictor.line is None:
                return None  # opening maps that nobody reads takes as long as writing
            if first != target and self.grid is not None:
                return write_on_grid(files.opened(), target, self.grid)
            return files.opened()

    def _make_products(self, begun: "_Begun") -> None:
        scene, maps, target = begun.scene, begun.maps, begun.made
        if maps is None:
            return
        if self._moves(scene):
            scene = maps.drop_vars(list(maps.data_vars))
        line = self.predictor.line
        if line is not None:
            heads = {n: head.classes for n, head in self.predictor.heads.items()}
            name = line.head_of(heads)
            prefix = f"{name}_" if len(heads) > 1 else ""
            codes = [heads[name].index(known) for known in line.classes]
            # Whole maps of the classes that are needed, and of no other.
            prob = maps[f"{prefix}prob"][codes].values
            write_line_maps(np.moveaxis(prob, 0, -1), line.classes, scene, target, line)
        self._write_products(maps, scene, target, self.products)  # pictures show lines

    @contextmanager
    def _first_map(self, target: Path, scene: xr.Dataset) -> Iterator[Path]:
        """Where the network's maps go: on their way to a grid they do not stay."""
        if not self._moves(scene):
            yield target
            return
        with TemporaryDirectory(dir=target.parent, prefix=".part-swath-") as folder:
            yield Path(folder) / f"swath{NETCDF}"

    def _write_products(
        self,
        maps: xr.Dataset,
        scene: xr.Dataset,
        target: Path,
        chosen: Mapping[str, Mapping[str, Any]],
    ) -> list[Path]:
        stem = target.with_suffix("")
        asked = [
            {"name": name, **options}
            for name, options in chosen.items()
            if PRODUCTS[name].files(maps, stem) != [target] or target.suffix != NETCDF
        ]
        return write_products(maps, stem, asked, scene=scene, overwrite=True)

    def _complete(self, scene: xr.Dataset, target: Path) -> list[Path]:
        """Makes the products that a finished scene lacks, from its maps."""
        if self._moves(scene):
            scene = open_geotiff(target).assign_attrs(scene.attrs)
        files = self._maps(scene, None)
        files.begin_from(target)
        maps, stem = files.opened(), target.with_suffix("")
        missing = {
            name: options
            for name, options in self.products.items()
            if not all(map(PRODUCTS[name].there, PRODUCTS[name].files(maps, stem)))
        }
        return self._write_products(maps, scene, target, missing)

    def _publish(self, folder: Path, target: Path) -> list[Path]:
        files = sorted(folder.iterdir(), key=lambda path: path.name == target.name)
        found = [target.with_name(path.name) for path in files]
        if not (self.overwrite or (self.resume and not target.exists())):
            _refuse([path for path in found if path.exists()])
        for made, final in zip(files, found, strict=True):
            (replace_folder if made.is_dir() else os.replace)(made, final)
        if self.predictor.line is None:
            remove_line_maps(target)  # of an earlier call, which traced one
        return [found[-1], *found[:-1]]

    def _check_same_models(self, target: Path) -> None:
        if _digest_in(target) != self.digest:
            raise FileExistsError(
                f"{target} was made by other models, views, thresholds or steps, so "
                "this call cannot go on from it. Choose another folder with --out, or "
                "replace it with --overwrite."
            )


@dataclass(frozen=True)
class _Begun:
    """A scene that is mapped.

    Attributes:
        scene: The scene.
        target: File of its chief map.
        folder: Hidden folder with its files; ``None``: it was finished before.
        maps: Its maps, where something is made of them.
    """

    scene: xr.Dataset
    target: Path
    folder: Path | None = None
    maps: xr.Dataset | None = None

    @property
    def made(self) -> Path:
        """The chief map within the hidden folder."""
        assert self.folder is not None
        return self.folder / self.target.name

    def discard(self) -> None:
        """Removes what was not given its name."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _refuse(there: list[Path]) -> None:
    if there:
        raise FileExistsError(
            f"{', '.join(map(str, there))} exist already. Choose another folder with "
            "--out, go on with --resume, or replace them with --overwrite."
        )


def _digest_in(target: Path) -> str | None:
    if target.suffix.lower() == NETCDF:
        with xr.open_dataset(target, engine="h5netcdf") as maps:
            return maps.attrs.get(MODEL_TAG)
    with rasterio.open(target) as file:
        return str(file.tags().get(MODEL_TAG, "")) or None


def digest_of(models: Sequence[Path], finish: str = "") -> str:
    """A digest of the files of models, and of what is done to their maps."""
    total = hashlib.sha256(finish.encode())
    for path in models:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def write_table(
    predictor: Predictor, scenes: Sequence[xr.Dataset], target: Path, overwrite: bool
) -> Path:
    """Writes answers about whole images as CSV, one row a scene.

    Args:
        predictor: Models whose heads answer for images.
        scenes: The scenes.
        target: The ``.csv`` file, or a folder for ``predictions.csv``.
        overwrite: Whether an existing file is replaced.

    Returns:
        The file: ``scene_id``, then one column an output and band; a class is written
        by its name, what is unknown is empty.

    Raises:
        FileExistsError: It exists and ``overwrite`` is false.
    """
    from arcticdl.inference.images import answer_images

    path = target if target.suffix.lower() == ".csv" else target / "predictions.csv"
    refuse_existing(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = answer_images(predictor, scenes)
    columns: dict[str, Any] = {"scene_id": found["scene"].values}
    for layer in predictor.layers_of("image"):
        values = found[layer.name].values
        for number, band in enumerate(layer.bands):
            column = values[:, number] if len(layer.bands) > 1 else values
            name = f"{layer.name}_{band}" if band else layer.name
            columns[name] = _readable(column, layer)
    import pandas as pd

    write_text(path, pd.DataFrame(columns).to_csv(index=False))
    return path


def _readable(column: np.ndarray, layer: Any) -> list[Any]:
    if layer.output.palette:
        names = dict(enumerate(layer.head.classes))
        return [names.get(int(code), "") for code in column]
    if layer.output.dtype == "uint8":
        return ["" if code == layer.output.nodata else int(code) for code in column]
    return ["" if np.isnan(value) else f"{value:.6g}" for value in column]

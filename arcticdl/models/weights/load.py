"""Named pretrained weights: which there are, fetching them, and loading them.

The table (``data/weights.csv``) says of each file its bands in order, the scaling it
was trained with, its licence and where it is. Files live in a cache folder, so that
nodes without internet use what a login node has fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from arcticdl.choices import check_choice
from arcticdl.download import download, verify_file
from arcticdl.errors import FetchError, WeightsError
from arcticdl.models.backbones.table import build_backbone
from arcticdl.models.convert.checkpoint import read_checkpoint
from arcticdl.models.convert.families import convert_state
from arcticdl.models.convert.sidecar import convert, verify
from arcticdl.models.weights.adapter import AdapterTable, Bands, copy_weights
from arcticdl.models.weights.adapter_rules import ADAPTERS
from arcticdl.models.weights.applications import APPLICATIONS, from_application
from arcticdl.models.weights.bands import RGB, Band, resolve_bands
from arcticdl.models.weights.table import (
    SUFFIX,
    WeightsInfo,
    constants,
    find_weights,
    list_weights,
)


def fetch(name: str, *, offline: bool = False) -> Path:
    """Brings named weights into the cache, as Keras weights.

    What is there already is verified and kept; a broken download is resumed.

    Args:
        name: A name of ``list_weights()``.
        offline: Do not try the internet.

    Returns:
        Path of the ``.weights.h5`` file; its JSON sidecar is beside it.

    Raises:
        ValueError: Unknown name.
        WeightsError: No converter for this network; no internet (the message says
            which file to put where); a file with another SHA-256 than expected.
    """
    info = find_weights(name)
    if not info.loadable:
        raise WeightsError(
            "Weights must be of a network with a converter: "
            f"{[i.name for i in list_weights()][:3]} and so on. Received: "
            f"name={name!r}, architecture {info.architecture!r}."
        )
    if info.weights_path.exists():
        verify(info.weights_path)
        return info.weights_path
    _bring(info, offline)
    path, _ = convert(
        info.checkpoint_path,
        info.weights_path,
        bands=info.bands,
        normalizer=info.normalizer,
        licence=info.licence,
        url=info.url,
    )
    return path


def _bring(info: WeightsInfo, offline: bool) -> None:
    path = info.checkpoint_path
    if offline and not path.exists():
        raise WeightsError(
            f"Without internet the weights {info.name!r} must be in the cache. On a "
            f"machine with internet download {info.url} and put it at {str(path)!r}; "
            "no other step is needed. ARCTICDL_CACHE names another cache folder."
        )
    there = path.exists()
    try:
        if there:
            verify_file(path, info.sha256)
        else:
            download(info.url, path, checksum=info.sha256)
    except FetchError as error:
        way_out = " Remove it and fetch it again." if there else ""
        raise WeightsError(f"{error}{way_out}") from error


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights, found and not yet in a model.

    Attributes:
        model: The network that they are weights of, with them in it.
        bands: Its input bands, or their number where their names are not known.
        normalizer: JSON form of the normaliser they expect, or ``None``.
    """

    model: keras.Model
    bands: Bands
    normalizer: dict[str, Any] | None

    @property
    def num_bands(self) -> int:
        """Number of input bands."""
        return int(self.model.input_shape[-1])


@dataclass(frozen=True)
class LoadedWeights:
    """What ``load_weights`` did.

    Attributes:
        table: Band -> source.
        normalizer: JSON form of the matching normaliser for the model's bands;
            ``None`` where a band has none, as bands that the weights do not know.
    """

    table: AdapterTable
    normalizer: dict[str, Any] | None


def load_weights(
    model: keras.Model,
    weights: str | Path,
    *,
    backbone: str,
    bands: Sequence[str | Band] | None = None,
    adapter: str = "by_band",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    offline: bool = False,
) -> LoadedWeights:
    """Fills a backbone with pretrained weights, whatever its bands.

    Args:
        model: Backbone from ``build_backbone``.
        weights: ``"imagenet"``, a name of ``list_weights()`` (with or without the
            architecture), or the path of a checkpoint or of converted weights.
        backbone: Name that ``model`` was built by.
        bands: Its bands by name; ``None``: only their number is known.
        adapter: One of ``ADAPTERS`` but ``project_1x1``.
        options: Options that ``model`` was built with.
        seed: Seed of the adapter ``random``.
        offline: Do not try the internet.

    Returns:
        The table band -> source and the matching normaliser.

    Raises:
        ValueError: Unknown weights, bands or adapter.
        WeightsError: Weights of another architecture, or not to be had.
    """
    check_choice("adapter", adapter, ADAPTERS)
    source = find_pretrained(weights, backbone, options=options, offline=offline)
    target: Bands = int(model.input_shape[-1]) if bands is None else list(bands)
    if bands is not None and len(bands) != model.input_shape[-1]:
        raise ValueError(
            "`bands` must name each band of `model`. Received: "
            f"{len(bands)} names for {model.input_shape[-1]} bands."
        )
    try:
        table = copy_weights(
            source.model, model, source.bands, target, adapter, seed=seed
        )
    except ValueError as error:
        if "same architecture" not in str(error):
            raise
        raise WeightsError(
            f"Weights must be of backbone {backbone!r} with its options "
            f"{dict(options or {})}. Received: weights={str(weights)!r}. {error}"
        ) from error
    return LoadedWeights(table, _matching(source, target))


def find_pretrained(
    weights: str | Path,
    backbone: str,
    *,
    options: Mapping[str, Any] | None = None,
    offline: bool = False,
) -> Pretrained:
    """Finds pretrained weights of a backbone and builds their network.

    Args:
        weights: As for ``load_weights``.
        backbone: Name of the backbone that they shall be of.
        options: Options of the backbone, for networks of ``keras.applications``.
        offline: Do not try the internet.

    Returns:
        The network with its weights, its bands, and the normaliser that they expect.

    Raises:
        ValueError: Unknown weights.
        WeightsError: Weights of another architecture, or not to be had.
        FileNotFoundError: A path without a file.
    """
    path = Path(weights)
    is_path = path.suffix != "" and (path.exists() or path.parent != Path("."))
    if backbone in APPLICATIONS and (weights == "imagenet" or is_path):
        model, normalizer = from_application(
            backbone, path if is_path else None, dict(options or {})
        )
        return Pretrained(model, RGB, normalizer)
    if not is_path:
        path = fetch(find_weights(str(weights), backbone).name, offline=offline)
    return _from_file(path, backbone)


def _from_file(path: Path, backbone: str) -> Pretrained:
    if path.suffix == ".keras" and path.is_file():
        raise WeightsError(
            "`weights` are a checkpoint of a backbone. Received: "
            f"{str(path)!r}, a model. Give a network its weights by "
            "`models.warm_start(network, keras.models.load_model(PATH))`."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"`weights` must be a name or a file. Received: weights={str(path)!r}."
        )
    if path.name.endswith(SUFFIX):
        card = verify(path)
        _check_architecture(card["architecture"], backbone, path)
        model = _load_backbone(path, card)
        bands = card["bands"] or card["num_bands"]
        return Pretrained(model, bands, card["normalizer"])
    converted = convert_state(read_checkpoint(path))
    _check_architecture(converted.architecture, backbone, path)
    model = converted.model
    return Pretrained(model, int(model.input_shape[-1]), None)


def _load_backbone(path: Path, card: Mapping[str, Any]) -> keras.Model:
    """The backbone in a file of converted weights, which may hold more around it."""
    whole = card["task"] == "segmentation"
    options = {} if whole else with_tuples(card["options"])
    model = build_backbone(card["architecture"], num_bands=card["num_bands"], **options)
    if not whole:
        model.load_weights(path)
        return model
    # Keras names what a file holds by the kind of layer: a shell whose one network is
    # the backbone reads the one network that a segmenter has, and nothing else of it.
    shell = keras.Model(model.input, model(model.input))
    shell.load_weights(path)
    return model


def with_tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were before JSON made lists of tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def _check_architecture(found: str, backbone: str, path: Path) -> None:
    if found != backbone:
        raise WeightsError(
            f"Weights must be of backbone {backbone!r}. "
            f"Received: {str(path)!r}, weights of {found!r}."
        )


def _matching(source: Pretrained, target: Bands) -> dict[str, Any] | None:
    """The normaliser for the target's bands, if the weights know all of them."""
    if source.normalizer is None or isinstance(target, int):
        return None
    known = source.normalizer
    labels = [band.label for band in resolve_bands(known["bands"])]
    names = [band.name if isinstance(band, Band) else str(band) for band in target]
    try:
        places = [labels.index(band.label) for band in resolve_bands(target)]
    except ValueError:
        return None
    offset = [known["offset"][i] for i in places]
    return constants(names, offset, [known["scale"][i] for i in places])

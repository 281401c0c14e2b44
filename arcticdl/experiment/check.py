"""The second check of a configuration: options against signatures, before any data.

The first one, ``load_config``, knows names; this one loads what they name, Keras among
it, and compares the configured options with the signatures of what will take them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from arcticdl.augment.objects import refuse_names
from arcticdl.choices import check_choices
from arcticdl.config import Experiment
from arcticdl.config.names import is_path
from arcticdl.derived import check_steps
from arcticdl.errors import ConfigError
from arcticdl.experiment.callbacks import check_watchers
from arcticdl.experiment.data.named_regions import read_regions
from arcticdl.experiment.diffusion.network import draws_members
from arcticdl.experiment.folder import load_run
from arcticdl.experiment.labels.shares import check_share_options
from arcticdl.experiment.losses import build_loss, check_loss, fixed_of
from arcticdl.experiment.network import (
    FIXED,
    check_architecture,
    check_head_weights,
    decoder_of,
    loss_key,
    loss_of,
    metric_key,
    metrics_of,
    read_heads,
    rematerialise,
    to_builder,
)
from arcticdl.experiment.objects.network import check_finder, finds_objects
from arcticdl.experiment.optimisers import check_optimizer
from arcticdl.experiment.options import (
    SPLIT_GIVEN,
    call_with,
    check_call,
    parameters,
)
from arcticdl.experiment.synthesis.steps import check_augment
from arcticdl.grid.target import read_crs
from arcticdl.inference.products.table import PRODUCTS
from arcticdl.inference.table import STEPS
from arcticdl.metrics.table import METRICS
from arcticdl.models.backbones.table import BACKBONES
from arcticdl.models.decoders.table import DECODERS
from arcticdl.sources.core.assemble import ATTRIBUTES
from arcticdl.sources.reader import READERS
from arcticdl.tasks.outputs import OF_CODE
from arcticdl.tiles.folds.given import read_names
from arcticdl.tiles.plan import check_overlap, parse_tile_size
from arcticdl.tiles.sampling import check_sampling
from arcticdl.tiles.table import SAMPLERS, SPLITTERS

_SAMPLED = {"store", "indices", "label"}


def check_options(config: Experiment) -> None:
    """Compares every configured option with what will take it.

    Args:
        config: A configuration that ``load_config`` accepted.

    Raises:
        ConfigError: An option is unknown, missing or of another type, with its path
            and, where one is near, the option that was meant.
        FileNotFoundError: A file of weights is not there.
    """
    if not config.data.labels:
        raise ConfigError(
            "`data.labels` is empty, so that there is nothing to learn. Unlabelled "
            "tiles are for `arcticdl prepare` and for feeds in Python."
        )
    _check_heads(config)
    check_head_weights(config)
    _check_model(config)
    _refuse_deep_supervision(config)
    check_maps(config)
    check_optimizer(config.train)
    check_watchers(config)
    check_preparation(config)


def check_preparation(config: Experiment) -> None:
    """The part that needs no Keras: readers, splits, samplers, augmentation.

    Raises:
        ConfigError: As for ``check_options``.
        FileNotFoundError: A list of the scenes of a given part, or a file of regions,
            is not there.
        SplitError: Such a list is empty.
    """
    _check_reader(config)
    check_share_options(config)
    _check_derived(config)
    for key, grid in (("data", config.data.grid), ("predict", config.predict.grid)):
        if grid is not None:
            _try(f"{key}.grid", read_crs, grid.crs)
    size = parse_tile_size(config.tiles.size_px)
    _try("tiles", check_overlap, config.tiles.overlap_px, size)
    _check_graph(config, size)
    read_regions(config)
    splitter, sampler = config.folds.splitter, config.train.sampler
    function = SPLITTERS[splitter.name]
    fixed = fixed_of(function, {k: getattr(config.folds, k) for k in SPLIT_GIVEN})
    key = "folds.splitter.options"
    _try(key, call_with, function, splitter.options, key, **fixed)
    for key in ("test", "validation"):
        if isinstance(given_part := getattr(config.folds, key), str):
            read_names(given_part, key)
    function = SAMPLERS[sampler.name]
    check_call(function, sampler.options, "train.sampler.options", _SAMPLED)
    _try("train.sampler.options", check_sampling, **sampler.options)
    check_augment(config)
    learnt = {name: config.data.answered[name] for name in config.each_head}
    boxed = [name for name, label in learnt.items() if label.target == "object"]
    if boxed:
        try:
            refuse_names([step["name"] for step in config.train.augment], boxed)
        except ValueError as error:
            raise ConfigError(f"`train.augment`: {error}") from None


def _check_reader(config: Experiment) -> None:
    """Compares reader options, where the reader is told; else the content decides."""
    if config.data.reader is None:
        return
    reader = READERS[config.data.reader]
    if reader.options is not None:
        options = config.data.reader_options
        given = {"path", "bands", "band_names"}
        own = {k: v for k, v in options.items() if k not in ATTRIBUTES}
        check_call(reader.open, own, "data.reader_options", given)


def _check_derived(config: Experiment) -> None:
    try:
        check_steps(config.data.derive, "data.derive")
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_heads(config: Experiment) -> None:
    heads = read_heads(config)
    for name, head in heads.items():
        settings = loss_of(config, name, head)
        key = loss_key(config, name)
        check_loss(settings, head, key)
        known = bool(head.classes) or not head.form.codes  # else the data name them
        if known:
            _try(key, build_loss, settings, head, key, [1] * len(head.classes))
        for number, metric in enumerate(metrics_of(config.each_head[name], head)):
            function = METRICS[metric.name]
            fixed = fixed_of(function, head.spec.metric_options(head.size))
            key = metric_key(config, name, number)
            check_call(function, metric.options, key, fixed)
            if known:
                _try(key, call_with, function, metric.options, key, **fixed)


def _try(key: str, build: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Builds what is configured, so that it can refuse numbers out of its range.

    Returns:
        What was built.

    Raises:
        ConfigError: It does.
    """
    try:
        return build(*arguments, **options)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"`{key}`: {error}") from error


def _check_graph(config: Experiment, size: tuple[int, int]) -> None:
    """Refuses tiles of one superpixel, which has no neighbour."""
    if config.model.backbone != "superpixel_graph":
        return
    cell = (config.model.options.get("backbone_options") or {}).get("cell_px", 8)
    if isinstance(cell, int) and cell >= max(size):
        raise ConfigError(
            "`tiles.size_px` must be larger than a cell of the graph, "
            "`model.options.backbone_options.cell_px`, which is one superpixel. "
            f"Received: tiles of {size[0]} x {size[1]} px, cells of {cell} px."
        )


def check_maps(config: Experiment) -> None:
    """Compares thresholds and steps of maps with the heads, and options of products.

    Raises:
        ConfigError: One does not fit.
    """
    from arcticdl.inference.maps import plan_layers

    settings = config.predict
    window = parse_tile_size(settings.tile_size_px or config.tiles.size_px)
    _try("predict", check_overlap, settings.overlap_px or 0, window)
    for number, step in enumerate(settings.postprocess):
        key = f"predict.postprocess.{number}.options"
        check_call(STEPS[step.name], step.options, key, {"codes", "ground"})
    for number, product in enumerate(settings.products):
        key = f"predict.products.{number}.options"
        write = PRODUCTS[product.name].write
        check_call(write, product.options, key, {"maps", "scene", "stem"})
    heads = read_heads(config)
    _check_codes_are_there(config)
    known = {n: o for h in heads.values() for n, o in h.form.outputs.items()}
    check_choices("predict.outputs", settings.outputs or (), known)
    # Whether a model is calibrated for sets, its card says.
    outputs = [n for n in settings.outputs or () if not known[n].needs_margin]
    if not all(head.classes for head in heads.values() if head.form.codes):
        return  # the data name them; the models' card is asked before a map is begun
    try:
        plan_layers(heads, outputs or None, settings.thresholds, settings.steps)
    except ValueError as error:
        raise ConfigError(f"`predict`: {error}") from None


def _check_codes_are_there(config: Experiment) -> None:
    """Refuses outputs of an autoencoder that a network is not.

    Raises:
        ConfigError: One is asked for.
    """
    asked = sorted(set(config.predict.outputs or ()) & set(OF_CODE))
    if asked and config.model.options.get("latent") is None:
        raise ConfigError(
            f"`predict.outputs` {asked} are told by the code of an autoencoder. Set "
            "`model.options.latent`, such as {size: 8}. Received: a network without."
        )


def _check_latent(config: Experiment) -> None:
    """Refuses a code that is none, or that no image would be rebuilt from.

    Raises:
        ConfigError: It is.
    """
    from arcticdl.models.options import Latent

    options = config.model.options.get("latent")
    if options is None:
        return
    check_call(Latent, options, "model.options.latent")
    try:
        Latent.read(options)
    except ValueError as error:
        raise ConfigError(f"`model.options.latent`: {error}") from None
    told = {name: config.task_of(name) for name in config.each_head}
    restoring = [n for n in told if n in config.data.labels]
    restoring = [n for n in restoring if config.data.labels[n].restores is not None]
    series = config.data.series is not None or "series" in config.model.options
    others = series or config.data.gaps is not None
    if list(told.values()) != ["dense_regression"] or not restoring or others:
        raise ConfigError(
            "`model.options.latent` makes an autoencoder of single images without "
            "`data.gaps`. It has one label, of task dense_regression, which is bands "
            "of the image: `bands: {band: [HH, HV], restores: [HH, HV]}`. Received: "
            f"tasks {told}, restoring {restoring}, series: {series}, gaps: "
            f"{config.data.gaps is not None}."
        )


def _check_model(config: Experiment) -> None:
    from arcticdl.models import build_multitask
    from arcticdl.models.options import Regularization, Series, Style

    settings = config.model
    if settings.warm_start is not None:
        load_run(settings.warm_start.run)
    _check_latent(config)
    heads = read_heads(config)
    if finds_objects(heads):
        check_finder(config, heads)
        _check_weights(config)
        return
    if settings.architecture is not None:
        check_architecture(config)
        return
    check_call(build_multitask, settings.options, "model.options", FIXED)
    nested = {"style": Style, "regularization": Regularization, "series": Series}
    for name, kind in nested.items():
        options = settings.options.get(name) or {}
        check_call(kind, options, f"model.options.{name}")
    _check_nested(
        BACKBONES[settings.backbone].options_of or BACKBONES[settings.backbone].build,
        settings.options.get("backbone_options"),
        "model.options.backbone_options",
    )
    decoder = decoder_of(config, heads)
    if decoder is not None:
        _check_nested(
            DECODERS[decoder].build,
            settings.options.get("decoder_options"),
            "model.options.decoder_options",
        )
    _check_weights(config)


def check_network(config: Experiment) -> None:
    """Builds the network, whose parts refuse numbers that no signature tells of.

    It takes about a second, and is for `arcticdl config check`; a training builds its
    network anyway. Left out are series, detectors, whole networks and heads whose
    classes the data name, and what depends on bands that ``data.use_bands`` does not
    tell: the size of a code.

    Args:
        config: A configuration that ``check_options`` accepted.

    Raises:
        ConfigError: It cannot be built.
    """
    import keras

    from arcticdl.models import build_multitask

    heads, settings = read_heads(config), config.model
    named = all(head.classes for head in heads.values() if head.form.codes)
    series = config.data.series is not None or "series" in settings.options
    if not named or series or finds_objects(heads) or settings.architecture is not None:
        return
    bands, options = config.data.use_bands, dict(settings.options)
    if bands is None:
        options.pop("latent", None)
    built = {name: to_builder(config, name, head) for name, head in heads.items()}
    if draws_members(heads):  # by steps, each of which is a regression
        built = {name: {"task": "dense_regression"} for name in heads}
    with keras.device("cpu"):
        network = _try(
            "model.options",
            build_multitask,
            backbone=settings.backbone,
            decoder=decoder_of(config, heads),
            heads=built,
            bands=bands or ("1", "2", "3"),
            **options,
        )
        if config.train.remat:
            rematerialise(network, config)


def _check_weights(config: Experiment) -> None:
    weights = config.model.weights
    if weights is None or not is_path(weights):
        return
    if Path(weights).is_dir() or Path(weights).suffix == ".keras":
        raise ConfigError(
            "`model.weights` is a checkpoint of a backbone. Received: "
            f"{weights}. With a run of this package a network begins by "
            "`model.warm_start: runs/NAME`."
        )
    if not Path(weights).is_file():
        raise FileNotFoundError(f"`model.weights`: there is no file {weights}.")


def _refuse_deep_supervision(config: Experiment) -> None:
    """A configuration names a loss for each label, and the further outputs have none.

    Raises:
        ConfigError: They are asked for.
    """
    options = config.model.options.get("decoder_options") or {}
    if options.get("deep_supervision"):
        raise ConfigError(
            "`model.options.decoder_options.deep_supervision` gives further outputs, "
            "for which a configuration has no losses. Leave it out, or build and "
            "compile the model in Python."
        )


def _check_nested(function: Any, options: Any, key: str) -> None:
    """Checks the keyword-only options that a builder hands on, or gives itself."""
    options = options or {}
    given = {
        name
        for name, parameter in parameters(function).items()
        if parameter.kind is not parameter.KEYWORD_ONLY
        or (parameter.default is parameter.empty and name not in options)
    }
    check_call(function, options, key, given)

"""Scoring the model of a bundle on labelled scenes of one's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.data.run_split import refuse_seen
from arcticdl.experiment.data.series import as_series
from arcticdl.experiment.folder import load_run
from arcticdl.files import write_json
from arcticdl.tiles import open_store


def score_bundle(
    path: Path,
    data: str | Path | None,
    overrides: Sequence[str],
    score: Callable[..., dict[str, Any]],
) -> dict[str, Any]:
    """Scores a bundle's model on a tile store, mapped as its configuration says.

    Args:
        path: The bundle.
        data: A tile store, scored whole.
        overrides: As of ``evaluate``.
        score: From the configuration, the store, ``model=`` and a folder for pictures,
            ``path=``, to the result.

    Returns:
        The result, which ``NAME_metrics_STORE.json`` beside the bundle holds as well,
        unless there are overrides.

    Raises:
        ConfigError: No store is named.
        BundleError: The bundle is not whole.
        FileNotFoundError: No such bundle or store.
        SplitError: The model has learnt from a scene of the store.
    """
    from arcticdl.inference import load_model

    folder = layout.open_bundle(path)
    layout.check_files(folder, layout.read_manifest(folder))
    _, config = load_run(folder, tuple(overrides))
    if data is None:
        raise ConfigError(
            "A bundle holds no scenes to score its model on. Prepare labelled ones as "
            f"its {layout.CONFIG} says (--set data.scenes=...), and name their store: "
            f"arcticdl evaluate {path} --data STORE. How good its run was on scenes "
            f"that it held out tells its {layout.README}."
        )
    refuse_seen([folder], config, data)
    store = as_series(open_store(data), config)
    with TemporaryDirectory(prefix="arcticdl-") as pictures:
        model = load_model(folder / layout.MODEL)
        result = score(config, store, model=model, path=Path(pictures))
    parts: dict[str, dict[str, Any]] = result.get("heads") or {"": result}
    for part in parts.values():
        part["pictures"] = []  # they went with their folder
    if not overrides:
        path = path.resolve()  # "." has no name
        name = f"{path.stem}_metrics_{Path(data).stem}.json"
        write_json(path.with_name(name), result)
    return result

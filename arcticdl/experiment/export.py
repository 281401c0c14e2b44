"""A run's model as a file for other programs."""

from pathlib import Path

from arcticdl.config.predict import PredictConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles.models import model_files


def export(
    run: str | Path,
    out: str | Path | None = None,
    *,
    format: str | None = None,
    fold: int | str | None = None,
    normalized: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a fold's model, or a bare ``.keras`` file, as ONNX, SavedModel or LiteRT.

    Args:
        run: Run folder, or a ``.keras`` file that carries its card.
        out: ``NAME.onnx``, ``NAME.tflite``, or a folder; default: a name of the format
            beside the model, such as ``model.onnx``.
        format: ``onnx``, ``saved_model`` or ``litert``; default: what `out` ends as, or
            ``onnx``.
        fold: Whose model, as of `predict`; ``"full"``: that of every scene.
        normalized: Whether it shall take pixels that are already scaled.
        overwrite: Replace an existing file or folder.

    Returns:
        The file or folder.

    Raises:
        ConfigError: ``fold`` is ``"all"``.
        ValueError: ``out`` and ``format`` disagree, and what `export_model` refuses.
        FileNotFoundError: The run or the fold's model is missing.
        FileExistsError: It exists and ``overwrite`` is false.
    """
    if fold == "all":
        raise ConfigError("One file holds one model: name a fold, or `full`.")
    config, (path,) = model_files(Path(run), fold)
    from arcticdl.inference import export_model, load_model
    from arcticdl.inference.exports.formats import find_format, path_beside

    target = path_beside(path, format) if out is None else Path(out)
    find_format(target, format)
    model = load_model(path)
    rule = (config.predict if config else PredictConfig()).objects
    objects = {
        "max_boxes": rule.max_objects,
        "min_score": rule.min_score,
        "max_overlap": rule.max_overlap,
    }
    return export_model(
        model,
        target,
        format=format,
        normalized=normalized,
        objects=objects,
        overwrite=overwrite,
    )

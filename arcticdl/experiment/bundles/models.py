"""The files of a run's models, found without loading what reads them."""

from pathlib import Path

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles import layout
from arcticdl.experiment.folder import (
    FULL,
    fold_path,
    load_run,
    meant_fold,
    trained_folds,
)


def model_files(
    run: Path, fold: int | str | None, overrides: tuple[str, ...] = ()
) -> tuple[Experiment | None, list[Path]]:
    """A run's configuration and the models of a fold, or of ``"all"``.

    Of no fold (``None``) as of ``meant_fold``. A bare ``.keras`` file has no
    configuration, and a bundle holds one model.
    """
    if layout.is_bundle(run):
        folder = layout.open_bundle(run)
        layout.check_files(folder, layout.read_manifest(folder))
        return load_run(folder, overrides)[1], [folder / layout.MODEL]
    if run.suffix == ".keras":
        if overrides:
            raise ConfigError(
                "A bare model has no configuration whose values could be set. "
                f"Received: --set {overrides[0]}"
            )
        if not run.is_file():
            raise FileNotFoundError(f"No such model: {run}")
        return None, [run]
    folder, config = load_run(run, overrides)
    fold = meant_fold(folder, fold)
    if fold == FULL:
        path = fold_path(folder, FULL) / "model.keras"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no full model. Train it: arcticdl train CONFIG "
                f"--fold {FULL}"
            )
        return config, [path]
    trained = trained_folds(folder)
    if not trained or (fold != "all" and str(fold) not in map(str, trained)):
        raise FileNotFoundError(
            f"Fold {fold} of {folder} is not trained. Trained: {trained}."
        )
    numbers = trained if fold == "all" else [int(fold)]
    return config, [fold_path(folder, number) / "model.keras" for number in numbers]

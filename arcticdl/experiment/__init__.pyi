# What the package offers, for its lazy loader, for mypy and for editors.
from .bundles.make import bundle as bundle
from .bundles.verify import verify_bundle as verify_bundle
from .check import check_options as check_options
from .data.prepared import open_prepared as open_prepared
from .ensembles.joined import ensemble as ensemble
from .evaluate import evaluate as evaluate
from .evaluate import headline as headline
from .export import export as export
from .predict import predict as predict
from .scenes import open_scenes as open_scenes
from .scenes import prepare as prepare
from .train import folds_to_train as folds_to_train
from .train import split_folds as split_folds
from .train import train as train
from .uncertainty.calibrate import calibrate as calibrate
from .uncertainty.calibrate import describe_calibration as describe_calibration

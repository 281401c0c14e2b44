# What the package offers, for its lazy loader, for mypy and for editors.
from . import augment as augment
from . import boxes as boxes
from . import choices as choices
from . import config as config
from . import datasets as datasets
from . import derived as derived
from . import doctor as doctor
from . import download as download
from . import errors as errors
from . import evaluation as evaluation
from . import experiment as experiment
from . import files as files
from . import forecasting as forecasting
from . import grid as grid
from . import inference as inference
from . import labelling as labelling
from . import losses as losses
from . import metrics as metrics
from . import models as models
from . import plots as plots
from . import plugins as plugins
from . import scene as scene
from . import seaice as seaice
from . import series as series
from . import simulate as simulate
from . import sources as sources
from . import tasks as tasks
from . import testing as testing
from . import tiles as tiles
from . import training as training
from . import void as void
from .inference.load import load_model as load_model
from .inference.predict import predict_scene as predict_scene
from .scene.contract import check_scene as check_scene
from .sources.open import open_scene as open_scene

__version__: str

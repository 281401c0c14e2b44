# What the package offers, for its lazy loader, for mypy and for editors.
from .ensemble import build_ensemble as build_ensemble
from .export import export_model as export_model
from .images import predict_images as predict_images
from .lines import draw_line as draw_line
from .lines import trace_line as trace_line
from .lines import write_line as write_line
from .load import load_model as load_model
from .postprocess import postprocess as postprocess
from .postprocess import threshold_classes as threshold_classes
from .predict import map_scene as map_scene
from .predict import predict_scene as predict_scene
from .predictor import Predictor as Predictor
from .preflight import check_like_training as check_like_training
from .products.table import PRODUCTS as PRODUCTS
from .products.write import write_products as write_products
from .table import STEPS as STEPS

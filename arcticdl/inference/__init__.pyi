# What the package offers, for its lazy loader, for mypy and for editors.
from .export import export_model as export_model
from .lines import draw_line as draw_line
from .lines import trace_line as trace_line
from .lines import write_line as write_line
from .load import load_model as load_model
from .predict import predict_scene as predict_scene

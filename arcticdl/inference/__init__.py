"""From a trained model to maps of whole scenes."""

from arcticdl.inference.export import export_model
from arcticdl.inference.lines import draw_line, trace_line, write_line
from arcticdl.inference.load import load_model
from arcticdl.inference.predict import predict_scene

__all__ = [
    "draw_line",
    "export_model",
    "load_model",
    "predict_scene",
    "trace_line",
    "write_line",
]

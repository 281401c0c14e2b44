"""Names that pages look for among methods, apart from what computes them."""

CEILING = "true_parameters"
"""What the true parameters of a simulation give."""

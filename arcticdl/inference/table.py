"""Steps after the network by name, listed without loading what they need."""

from arcticdl.choices import Table

STEPS = Table(
    None,
    {
        name: f"arcticdl.inference.postprocess:{name}"
        for name in (
            "closing",
            "fill_holes",
            "keep_largest",
            "majority",
            "opening",
            "reclass",
            "sieve",
        )
    },
)
"""Name -> step: ``(codes, ground, *, options) -> codes``."""

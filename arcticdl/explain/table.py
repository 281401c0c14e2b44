"""Maps that explain, by name, listed without loading what they need."""

from arcticdl.choices import Table

METHODS = Table(
    None,
    {
        name: f"arcticdl.explain.methods:{name}"
        for name in ("activations", "gradcam", "integrated", "occlusion", "patches")
    },
)
"""Name -> method: ``(subject, *, options) -> Method``."""

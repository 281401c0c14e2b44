"""What people call the scores of images and ensembles."""

SHOWN = {
    "crps": ("CRPS", None),
    "spread": ("spread", None),
    "spread_skill": ("spread over error", ""),
    "psnr_db": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "edges": ("edges kept", ""),
    "seam": ("step at gap edges", ""),
    "spectrum_db": ("spectrum off by", "dB"),
    "looks": ("looks", ""),
    "coarse_rmse": ("coarse signal, RMSE", None),
}
"""Score -> its title and unit; ``None`` is the label's own."""


def title_of(name: str, own: str = "") -> str:
    """The title of a further score of an image, whatever it is.

    Args:
        name: Of the score.
        own: Unit of the label.

    Example:
        >>> title_of("psnr_db"), title_of("crps", "K"), title_of("line_threshold")
        ('PSNR (dB)', 'CRPS (K)', 'line threshold')
    """
    title, units = SHOWN.get(name, (name.replace("_", " "), ""))
    units = own if units is None else units
    return f"{title} ({units})" if units else title

"""The few errors that a caller would catch.

Each is a ``ValueError``, for input that is refused; ``ReadError`` is an ``OSError``,
for input that could not be read just now, ``MissingExtraError`` an ``ImportError``, and
``OutOfMemoryError`` a ``MemoryError``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_SECRETS = (
    re.compile(r"(?<=://)[^/@\s]+(?=@)"),  # name and password
    re.compile(
        r"(?i)(?<=[?&])([\w.-]*(?:sig|signature|token|key|keyid|credential|secret"
        r"|password)=)[^&\s'\",;:)\]}]+"
    ),
)


def without_secrets(text: str) -> str:
    """A text in which no address tells a password, token or signature.

    >>> without_secrets("https://me:word@ice.example/a.tif?se=2026&sig=a%2Fb= is gone")
    'https://***@ice.example/a.tif?se=2026&sig=*** is gone'
    """
    return _SECRETS[1].sub(r"\1***", _SECRETS[0].sub("***", text))


class SceneError(ValueError):
    """A dataset does not keep the Scene contract."""


class SourceError(ValueError):
    """A file is not what it claims to be: truncated, of another kind, incomplete.

    Its message names the file, and may end up in a log: what opens an address is left
    out.
    """

    def __init__(self, *said: object) -> None:
        super().__init__(*(without_secrets(str(part)) for part in said))


class ReadError(OSError):
    """Reading failed, which says nothing of the input: the same call may go well."""


class BandNotFoundError(SceneError):
    """A band was asked for that the scene or the store does not hold."""


class LabelError(ValueError):
    """A label map holds codes outside its classes, or does not fit its image."""


class GridMismatchError(ValueError):
    """Two rasters that must share one grid do not."""


class StoreError(ValueError):
    """A tile store is missing, unfinished, corrupt or of another layout."""


class SplitError(ValueError):
    """A split cannot be made as asked, or leaks."""


class FetchError(ValueError):
    """A file cannot be fetched, or is not the one that it should be."""


class WeightsError(ValueError):
    """A checkpoint is missing, corrupt, unsafe or of another architecture."""


class ConfigError(ValueError):
    """A configuration is wrong; the message names the key's path."""


class DivergedError(ValueError):
    """Training left the finite numbers; what it has learned since is worth nothing."""


class OutOfMemoryError(MemoryError):
    """A training step does not fit the memory; the message says which batch might."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message names the extra to install."""


@contextmanager
def needs_extra(name: str, what: str) -> Iterator[None]:
    """Tells by which extra an import that fails within the block is mended.

    Args:
        name: The extra.
        what: What needs it, the first word of a sentence.

    Raises:
        MissingExtraError: An import failed.

    Example:
        >>> with needs_extra("tune", "A search"):
        ...     import there_is_none
        Traceback (most recent call last):
        arcticdl.errors.MissingExtraError: A search needs an optional package: pip ...
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs an optional package: pip install 'arcticdl[{name}]'. "
            f"Received: {error}."
        ) from error


class PluginError(ValueError):
    """A plug-in cannot be loaded, or claims a name that is taken."""


class TaskError(ValueError):
    """A head does not fit its label, or is asked for what its task cannot do."""


class BundleError(ValueError):
    """A bundle is damaged, or its network is not what it says of it."""


class CalibrationError(ValueError):
    """A model cannot be calibrated as asked: too few units, or no label."""


class SeriesError(ValueError):
    """Scenes do not make a series: uneven dates, other grids, a time unknown."""

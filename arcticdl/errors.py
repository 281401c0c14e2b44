"""The few errors that a caller would catch, each a ``ValueError``."""


class SceneError(ValueError):
    """A dataset does not keep the Scene contract."""


class SourceError(ValueError):
    """A file is not what it claims to be: truncated, of another kind, incomplete."""


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


class WeightsError(ValueError):
    """A checkpoint is missing, corrupt, unsafe or of another architecture."""


class ConfigError(ValueError):
    """A configuration is wrong; the message names the key's path."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message names the extra to install."""


class PluginError(ValueError):
    """A plug-in cannot be loaded, or claims a name that is taken."""


class TaskError(ValueError):
    """A head does not fit its label, or is asked for what its task cannot do."""

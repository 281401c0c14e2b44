"""One thing that a check found."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        check: Its name.
        severity: ``"error"``, ``"warning"`` or ``"note"``.
        axis: Of AI-readiness: ``"quality"``, ``"documentation"``, ``"access"``,
            ``"preparation"``; or ``"leakage"``.
        message: What was found, in one sentence.
        tiles: Tiles concerned, at most the first hundred.
        scenes: Scenes concerned.
        action: What was done about it.
    """

    check: str
    severity: str
    axis: str
    message: str
    tiles: tuple[int, ...] = ()
    scenes: tuple[str, ...] = ()
    action: str = "kept"

    def __str__(self) -> str:
        return f"{self.severity}: {self.axis}: {self.check}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()
        }

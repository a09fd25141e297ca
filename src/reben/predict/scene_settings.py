"""How a scene is predicted, into which files, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.errors import ConfigError, OutputError
from reben.predict.cog import Dtype, require_dtype
from reben.predict.resume import SceneProgress
from reben.predict.windows import require_stride
from reben.spec.patches import PATCH_METRES

MAX_BAD = 0.25
"""The share of bad pixels up to which a window is predicted. The data set left out patches of which
less than three quarters are labelled, so models have seen nothing worse."""


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is predicted.

    Args:
        stride: Metres from one window to the next; divides 1200 and is a multiple of 60.
        max_bad: Share of bad pixels (no data, cloud, shadow) above which a window is left out, and
            a cell masked; 0 to 1.
        dtype: How the GeoTIFF stores scores: ``float32``, or ``uint8`` (times 200).
        batch_size: How many windows of a row go through the model at once, at most.

    Raises:
        ConfigError: If a value cannot be.
    """

    stride: int = PATCH_METRES
    max_bad: float = MAX_BAD
    dtype: Dtype = "float32"
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        require_stride(self.stride)
        require_dtype(self.dtype)
        if not 0 <= self.max_bad <= 1:
            raise ConfigError(f"max_bad is {self.max_bad}; it is a share, 0 to 1.")
        if self.batch_size < 1:
            raise ConfigError(f"A batch cannot have {self.batch_size} windows.")


@dataclass(frozen=True)
class SceneOutputs:
    """The files to write.

    Args:
        out: The GeoTIFF of scores.
        table: The table of windows, if there shall be one.
        quicklook: The picture, if there shall be one.
    """

    out: Path
    table: Path | None
    quicklook: Path | None

    @property
    def parts(self) -> SceneProgress:
        """What is finished of them."""
        return SceneProgress(self.out)

    def require_endings(self) -> None:
        """Refuse endings that name no format, before hours are spent.

        Raises:
            ConfigError: If there is one.
        """
        if self.table is not None:
            from reben.predict.table_files import require_ending

            require_ending(self.table.suffix)
        for path, endings in ((self.out, (".tif", ".tiff")), (self.quicklook, (".png",))):
            if path is not None and path.suffix.lower() not in endings:
                raise ConfigError(f"{path} cannot be written: call it ...{endings[0]}.")

    def require_free(self, *, overwrite: bool) -> None:
        """Refuse outputs that are there, unless an unfinished run left parts of them too.

        Raises:
            OutputError: If there is one.
        """
        there = [
            str(path)
            for path in (self.out, self.table, self.quicklook)
            if path is not None and path.exists()
        ]
        if there and not overwrite and not self.parts.exists:
            raise OutputError(
                f"{', '.join(there)} is there already. Nothing was changed. Overwrite it, or "
                "choose another name."
            )


@dataclass(frozen=True)
class ScenePrediction:
    """What came of a scene.

    Args:
        out: The GeoTIFF of scores.
        table: The table of windows, if one was asked for.
        quicklook: The picture, if one was asked for.
        product: Name of the product.
        num_windows: How many windows the scene has.
        num_masked: How many of them were left out for bad pixels.
        num_resumed: How many an earlier run had finished.
        shares: Label -> share of the cells with scores in which it has the highest, the largest
            share first; labels that have it nowhere are left out.
    """

    out: Path
    table: Path | None
    quicklook: Path | None
    product: str
    num_windows: int
    num_masked: int
    num_resumed: int
    shares: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        paths = {
            name: None if (path := getattr(self, name)) is None else str(path)
            for name in ("out", "table", "quicklook")
        }
        return {**self.__dict__, **paths, "shares": dict(self.shares)}

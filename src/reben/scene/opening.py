"""How a product is opened, where it does not say itself: settings that pass through as one."""

from dataclasses import dataclass, fields
from typing import Any, Self

from reben.data.patch_folders.multiband import RESAMPLES, Resample
from reben.errors import ConfigError
from reben.scene.radar.backscatter import Quantity, Unit


@dataclass(frozen=True)
class Opening:
    """What the user says about a product; the defaults say nothing.

    Each is a keyword of `reben.scene.product.open_scene` and of `reben.predict_scene`, a field of
    `reben.predict.scene_settings.SceneOptions`, and a flag of ``reben predict-scene``.

    Args:
        boa_offset: Added to the stored numbers to get reflectance x 10000, such as -1000.
        trust_offset: Whether to read pixels that contradict their offset all the same.
        sentinel1_unit: The unit of the backscatter.
        sentinel1_quantity: What the backscatter is.
        band_names: Names of the bands of a GeoTIFF of several bands in its order.
        resample: How bands that are stored with finer pixels than their own are brought to those.
        reproject: Whether to warp a product whose grid cannot be used.

    Raises:
        ConfigError: If there is no such resampling.
    """

    boa_offset: float | None = None
    trust_offset: bool = False
    sentinel1_unit: Unit | None = None
    sentinel1_quantity: Quantity | None = None
    band_names: tuple[str, ...] | None = None
    resample: Resample = "auto"
    reproject: bool = False

    def __post_init__(self) -> None:
        """Refuse a resampling that does not exist."""
        if self.resample not in RESAMPLES:
            raise ConfigError(
                f"Unknown resampling {self.resample!r}. Choose {', '.join(RESAMPLES)}."
            )

    @classmethod
    def of(cls, settings: Any, **changed: Any) -> Self:  # noqa: ANN401 - whatever has the fields
        """Return the opening whose fields an object has among others."""
        return cls(**({one.name: getattr(settings, one.name) for one in fields(cls)} | changed))

    @property
    def keywords(self) -> dict[str, Any]:
        """The settings by name, to be passed on."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def given(self) -> list[str]:
        """Names of the settings that are not the default."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]

"""A model apart from its weights: architecture, bands, statistics, labels, thresholds.

Written as a flat ``config.json`` with the keys of the published classifiers, whose loader ignores
those that reben adds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from typing import Annotated, Any, Self

from annotated_types import Ge, Le

from reben.errors import ConfigError
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS, fault_of_labels
from reben.spec.statistics import (
    LARGEST,
    LARGEST_SIDE,
    SMALLEST_STD,
    Statistics,
    Upsampling,
    published_statistics,
)
from reben.support.json_files import Count, Finite, check_values

DEFAULT_THRESHOLD = 0.5
"""The score above which a label counts as present, as in the paper's figures."""

_VISION_LANGUAGE_KEYS: Mapping[str, Any] = {
    "_fusion_activation": "nn.Tanh()",
    "_fusion_method": "torch.mul",
    "custom_fusion_activation": None,
    "custom_fusion_method": None,
    "fusion_dropout_rate": 0.25,
    "fusion_hidden": 256,
    "fusion_in": 512,
    "fusion_out": 512,
    "hf_model_name": None,
    "load_pretrained_hf_if_available": True,
    "load_pretrained_timm_if_available": False,
    "max_sequence_length": 32,
    "network_type": 0,
    "t_dropout_rate": 0.25,
    "use_pooler_output": True,
    "v_dropout_rate": 0.25,
    "visual_features_out": 512,
}
"""Keys of the published format that a classifier does not use, with their published values."""


CURE = "Fetch the model again, or save it again with Classifier.save_pretrained."
"""What to do about an invalid config."""

Side = Annotated[int, Ge(1), Le(LARGEST_SIDE)]
"""Side length of an image in pixels."""
Share = Annotated[float, Ge(0), Le(1)]
Temperature = Annotated[float, Ge(1e-3), Le(1e3)]
_Mean = Annotated[float, Ge(-LARGEST), Le(LARGEST)]
_Deviation = Annotated[float, Ge(SMALLEST_STD), Le(LARGEST)]


@dataclass(frozen=True)
class Calibration:
    """Temperature and thresholds that were tuned, and the patches that they were tuned on.

    Args:
        temperature: What logits are divided by before the sigmoid.
        thresholds: For each label, the score (at that temperature) above which it is present.
        split: The split of the patches.
        fingerprint: SHA-256 of their names and labels.
        num_patches: How many they are.
        kept: Labels that none of them has, so that their threshold is the default.
    """

    temperature: Finite
    thresholds: tuple[Finite, ...]
    split: str
    fingerprint: str
    num_patches: Count
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelConfig:
    """A model apart from its weights.

    Args:
        backbone: Name of a timm architecture.
        bands: The bands and their order: channel ``i`` of the input is band ``i``.
        labels: Names of the outputs, in order.
        statistics: Mean and standard deviation of the bands, and how they are upsampled.
        image_size: Side length of the input in pixels.
        drop_rate: Dropout before the head, 0 to 1.
        drop_path_rate: Stochastic depth, 0 to 1.
        thresholds: For each label, the score above which it counts as present.
        temperature: What logits are divided by before the sigmoid; 1 until the model is
            calibrated, so that scores are those of the published models bit for bit.
        tuned_on: How temperature and thresholds were tuned, if they were.
        reben_version: The version that wrote the config.

    Raises:
        ConfigError: If a value is invalid, or a band has no statistics.
    """

    backbone: str
    bands: BandSet
    labels: tuple[str, ...] = LABELS
    statistics: Statistics = field(default_factory=published_statistics)
    image_size: int = 120
    drop_rate: float = 0.15
    drop_path_rate: float = 0.15
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0
    tuned_on: Calibration | None = None
    reben_version: str = field(default_factory=lambda: version("reben"), compare=False)

    def __post_init__(self) -> None:
        """Check the values; fill the thresholds."""
        fault = fault_of_labels(self.labels)
        if fault is not None:
            raise ConfigError(f"These cannot be the labels of a model: {fault}. Name other ones.")
        thresholds = tuple(self.thresholds) or (DEFAULT_THRESHOLD,) * len(self.labels)
        plain = {name: _plain(getattr(self, name)) for name in _NUMBERS}
        for name, value in {
            **plain,
            "statistics": self.statistics.select(self.bands),
            "labels": tuple(self.labels),
            "thresholds": tuple(map(_plain, thresholds)),
        }.items():
            object.__setattr__(self, name, value)
        if self.tuned_on is not None:
            unknown = set(self.tuned_on.kept) - set(self.labels)
            if unknown:
                raise ConfigError(f"tuned_on.kept names {min(unknown)!r}, no label of the model.")
            tuned_on = replace(
                self.tuned_on, temperature=self.temperature, thresholds=self.thresholds
            )
            object.__setattr__(self, "tuned_on", tuned_on)
        # Whatever can be built can be written, and read again.
        check_values(self.to_dict(), _ConfigFile, "The config", ConfigError, "Pass another value.")
        if len(thresholds) != len(self.labels):
            raise ConfigError(
                f"{len(thresholds)} thresholds for {len(self.labels)} labels. Pass one for each."
            )
        if self.statistics.size != self.image_size:
            raise ConfigError(
                f"Statistics for {self.statistics.size} pixels do not fit images of "
                f"{self.image_size} pixels."
            )

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.bands)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return len(self.labels)

    @property
    def timm_model_name(self) -> str:
        """The backbone, as published configs call it."""
        return self.backbone

    @property
    def upsampling(self) -> Upsampling:
        """How bands of 20 m and 60 m are brought to the image size."""
        return self.statistics.upsampling

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``config.json``: flat, published keys and reben's own."""
        return {
            **_VISION_LANGUAGE_KEYS,
            "timm_model_name": self.backbone,
            "channels": self.channels,
            "classes": self.classes,
            "class_names": list(self.labels),
            **{name: getattr(self, name) for name in _NUMBERS},
            "bands": list(self.bands),
            "band_mean": [self.statistics.mean[name] for name in self.bands],
            "band_std": [self.statistics.std[name] for name in self.bands],
            "statistics_source": self.statistics.source,
            "upsampling": self.upsampling,
            "label_names": list(self.labels),
            "thresholds": list(self.thresholds),
            "tuned_on": None
            if self.tuned_on is None
            else {field.name: getattr(self.tuned_on, field.name) for field in fields(_TunedOn)},
            "reben_version": self.reben_version,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that `to_dict` wrote. Unknown keys are ignored.

        Raises:
            ConfigError: If a key is missing, has an invalid value, or contradicts another.
            UnknownBandError: If a band is unknown.
        """
        found = check_values(values, _ConfigFile, "The config", ConfigError, CURE)
        bands, labels = BandSet(found.bands), found.label_names
        for key, told, named in (
            ("channels", found.channels, len(bands)),
            ("classes", found.classes, len(labels)),
            ("band_mean", len(found.band_mean), len(bands)),
            ("band_std", len(found.band_std), len(bands)),
        ):
            if told not in (None, named):
                raise ConfigError(f"The config says {key} {told} but names {named}. {CURE}")
        return cls(
            backbone=found.timm_model_name,
            bands=bands,
            labels=labels,
            statistics=Statistics(
                dict(zip(bands, found.band_mean, strict=True)),
                dict(zip(bands, found.band_std, strict=True)),
                found.image_size,
                found.upsampling,
                found.statistics_source,
            ),
            thresholds=found.thresholds,
            tuned_on=None
            if found.tuned_on is None
            else Calibration(1.0, (), **vars(found.tuned_on)),
            reben_version=found.reben_version,
            **{name: getattr(found, name) for name in _NUMBERS},
        )

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


_NUMBERS = ("image_size", "drop_rate", "drop_path_rate", "temperature")


def _plain(value: Any) -> Any:  # noqa: ANN401 - a number, of numpy maybe
    """Return a number of numpy or torch as one of Python, which JSON has; others as they are."""
    return value if getattr(value, "shape", True) != () else value.item()


@dataclass(frozen=True)
class _TunedOn:
    """The part of a calibration that has a key of its own."""

    split: str
    fingerprint: str
    num_patches: Count
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _ConfigFile:
    """The keys of ``config.json`` that a model follows from."""

    timm_model_name: str
    bands: tuple[str, ...]
    label_names: tuple[str, ...]
    band_mean: tuple[_Mean, ...]
    band_std: tuple[_Deviation, ...]
    statistics_source: str
    upsampling: Upsampling
    image_size: Side
    drop_rate: Share
    drop_path_rate: Share
    thresholds: tuple[Share, ...]
    reben_version: str
    channels: int | None = None
    classes: int | None = None
    # Configs of reben 0.1 have neither of these two.
    temperature: Temperature = 1.0
    tuned_on: _TunedOn | None = None

"""What a model is, apart from its weights: architecture, bands, statistics, labels, thresholds.

Written as a flat ``config.json`` that holds the keys of the published classifiers with the values
that their loader expects, and reben's own beside them, which that loader ignores.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Self

from reben.errors import ConfigError
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import Statistics, Upsampling, published_statistics
from reben.support.json_files import Count, Finite

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
"""Keys of the published format that mean nothing for a classifier, with their published values."""


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
        ConfigError: If a value cannot be, or a band has no statistics.
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
        object.__setattr__(self, "statistics", self.statistics.select(self.bands))
        object.__setattr__(self, "labels", tuple(self.labels))
        thresholds = tuple(self.thresholds) or (DEFAULT_THRESHOLD,) * len(self.labels)
        object.__setattr__(self, "thresholds", thresholds)
        if self.tuned_on is not None:
            tuned_on = replace(self.tuned_on, temperature=self.temperature, thresholds=thresholds)
            object.__setattr__(self, "tuned_on", tuned_on)
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ConfigError("A model needs at least one label and each label only once.")
        if len(thresholds) != len(self.labels):
            raise ConfigError(f"{len(thresholds)} thresholds for {len(self.labels)} labels.")
        for name, values in (
            ("thresholds", thresholds),
            ("drop_rate", (self.drop_rate,)),
            ("drop_path_rate", (self.drop_path_rate,)),
        ):
            if not all(0 <= value <= 1 for value in values):
                raise ConfigError(f"{name} must lie in 0..1; got {values}.")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature must be above 0 and finite; got {self.temperature}.")
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
            "image_size": self.image_size,
            "drop_rate": self.drop_rate,
            "drop_path_rate": self.drop_path_rate,
            "bands": list(self.bands),
            "band_mean": [self.statistics.mean[name] for name in self.bands],
            "band_std": [self.statistics.std[name] for name in self.bands],
            "statistics_source": self.statistics.source,
            "upsampling": self.upsampling,
            "label_names": list(self.labels),
            "thresholds": list(self.thresholds),
            "temperature": self.temperature,
            "tuned_on": self._tuned_on(),
            "reben_version": self.reben_version,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that `to_dict` wrote.

        Raises:
            ConfigError: If a key is missing, has a value of another type, or two contradict each
                other. Unknown keys are left alone.
            UnknownBandError: If a band is unknown.
        """
        bands = BandSet(tuple(_texts(values, "bands")))
        labels = tuple(_texts(values, "label_names"))
        for key, number in (("channels", len(bands)), ("classes", len(labels))):
            if values.get(key, number) != number:
                raise ConfigError(f"The config says {key} {values[key]} but names {number}.")
        means = dict(zip(bands, _numbers(values, "band_mean", len(bands)), strict=True))
        stds = dict(zip(bands, _numbers(values, "band_std", len(bands)), strict=True))
        size = _value(values, "image_size", int)
        upsampling = _value(values, "upsampling", str)
        source = _value(values, "statistics_source", str)
        return cls(
            backbone=_value(values, "timm_model_name", str),
            bands=bands,
            labels=labels,
            statistics=Statistics(means, stds, size, upsampling, source),
            image_size=size,
            drop_rate=_value(values, "drop_rate", float),
            drop_path_rate=_value(values, "drop_path_rate", float),
            thresholds=tuple(_numbers(values, "thresholds", len(labels))),
            # Configs of reben 0.1 have neither of these two.
            temperature=_value({"temperature": 1.0, **values}, "temperature", float),
            tuned_on=_tuned_on(values),
            reben_version=_value(values, "reben_version", str),
        )

    def _tuned_on(self) -> dict[str, Any] | None:
        """Return the patches of the calibration; what came of it has keys of its own."""
        if self.tuned_on is None:
            return None
        kept_apart = ("temperature", "thresholds")
        return {k: v for k, v in asdict(self.tuned_on).items() if k not in kept_apart}

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _tuned_on(values: Mapping[str, Any]) -> Calibration | None:
    if values.get("tuned_on") is None:
        return None
    found = _value(values, "tuned_on", dict)
    return Calibration(
        temperature=1.0,  # the config fills these two in
        thresholds=(),
        split=_value(found, "split", str),
        fingerprint=_value(found, "fingerprint", str),
        num_patches=_value(found, "num_patches", int),
        kept=tuple(_texts(found, "kept")),
    )


def _value(values: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 - JSON
    if key not in values:
        raise ConfigError(f"The config has no {key}.")
    value = values[key]
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or isinstance(value, bool):
        raise ConfigError(f"The config's {key} must be of type {kind.__name__}; it is {value!r}.")
    return value


def _texts(values: Mapping[str, Any], key: str) -> Sequence[str]:
    found: Sequence[str] = _value(values, key, list)
    if not all(isinstance(text, str) for text in found):
        raise ConfigError(f"The config's {key} must be a list of names; it is {found!r}.")
    return found


def _numbers(values: Mapping[str, Any], key: str, length: int) -> Sequence[float]:
    found: Sequence[float] = _value(values, key, list)
    numeric = all(isinstance(x, int | float) and not isinstance(x, bool) for x in found)
    if not numeric or len(found) != length:
        raise ConfigError(f"The config's {key} must be {length} numbers; it is {found!r}.")
    return found

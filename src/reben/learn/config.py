"""The settings of a training run, in one table for the command line, run folder and card."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self, get_type_hints

from reben.errors import ConfigError
from reben.learn.settings import (
    Allowed,
    Setting,
    check_value,
    documented,
    setting,
    settings_of,
    to_toml,
)
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import LARGEST_SIDE, Upsampling, published_sizes
from reben.support.toml_files import parse_toml

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
ChannelsLast = Literal["auto", "yes", "no"]
Loss = Literal["bce", "focal", "asymmetric"]

PUBLISHED, AUTO = "published", "auto"
"""Band statistics that are no file."""
PAPER_WARMUP_STEPS = 1000
"""Steps of the warm-up. Source: default of the published training script."""
PAPER_PRECISION = "32-true"
"""Source: the published training script, which leaves it at Lightning's default."""
PAPER_MATMUL_PRECISION = "medium"
"""torch's precision of products of float32 matrices. Source: the published training script."""


_TOML_CURE = "Write one setting on each line: name = value."
_ARCHITECTURE = Allowed("the name of an architecture", lambda text: text == text.strip() != "")
_MODEL = Allowed("a folder or the id of a model", lambda text: text.strip() != "")
_DISTINCT = Allowed(
    "names that occur only once", lambda names: all(names) and len(set(names)) == len(names)
)


MAY_CHANGE = frozenset(
    ("accelerator", "devices", "num_nodes", "accumulate", "num_workers", "checkpoint_minutes")
) | {"compile", "channels_last"}
"""Settings that a run may change when it is resumed: where and how it computes."""


class ChangedSetting(NamedTuple):
    """A setting that differs from the paper or from another config."""

    name: str
    other: object
    own: object


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe of the BigEarthNet v2.0 paper.

    Raises:
        ConfigError: If a value is invalid; the message names the setting.
        BandsError: If a band is unknown or repeated.

    Source: arXiv:2407.03653, section 3, and the published training script.

    Example:
        >>> TrainConfig(bands="rgb", epochs=5).differences_from_paper()
        [ChangedSetting(name='epochs', other=100, own=5)]
        >>> TrainConfig(epochs=0)
        Traceback (most recent call last):
        reben.errors.ConfigError: epochs must be at least 1 and at most 1000000; got 0.
    """

    backbone: str = setting(
        "resnet50",
        "Name of a timm architecture, for example resnet50.",
        in_recipe=False,
        allowed=_ARCHITECTURE,
    )
    bands: str = setting(
        "s2",
        "Bands in channel order: s1, s2, all, s2_full, all_full, rgb, 10m, or B08,B04,...",
        in_recipe=False,
    )
    epochs: int = setting(
        100, "Maximum number of epochs.", card="Epochs at most", ge=1, le=1_000_000
    )
    batch_size: int = setting(512, "Patches per step, over all devices together.", ge=1, le=1 << 20)
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate, reached by the warm-up.",
        card="Highest learning rate",
        gt=0,
        le=1000,
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW, on all weights.", ge=0, le=1000)
    warmup_steps: int | None = setting(
        None,
        "Steps of the warm-up. Default: 1000, or a tenth of the run if that is fewer.",
        card="Warm-up steps",
        ge=0,
    )
    patience: int = setting(
        5,
        "Epochs without a better validation macro average precision before training stops.",
        card="Epochs without improvement before training stops",
        ge=1,
    )
    drop_rate: float = setting(
        0.15, "Dropout before the head, if the backbone supports it.", card="Dropout", ge=0, lt=1
    )
    drop_path_rate: float = setting(
        0.15, "Stochastic depth, if the backbone supports it.", card="Drop path", ge=0, lt=1
    )
    seed: int = setting(
        42, "Seed of the first weights, the order of patches and the flips.", ge=0, lt=2**32
    )
    flips: bool = setting(
        True, "Flip training images horizontally and vertically, each with probability 0.5."
    )
    upsampling: Upsampling = setting(
        "nearest", "How bands of 20 m and 60 m are resampled to the image size."
    )
    image_size: int = setting(120, "Side length of the images in pixels.", ge=1, le=LARGEST_SIDE)
    statistics: str = setting(
        PUBLISHED,
        "Mean and deviation of the bands: published (those for image size and upsampling), auto "
        "(measured on the train patches), or a file of reben statistics or config.json of a model.",
        card="Band statistics",
        allowed=Allowed("published, auto, or a file", lambda text: text.strip() != ""),
    )
    pretrained: bool = setting(
        False,
        "Start from timm's pretrained weights, adapted to the number of channels.",
        card="Pretrained weights",
    )
    accelerator: Accelerator = setting("auto", "Hardware to train on.", in_recipe=False)
    devices: int = setting(
        1, "Devices per machine; they share each batch.", in_recipe=False, ge=1, le=1024
    )
    num_nodes: int = setting(
        1, "Machines that train together.", card="Machines", in_recipe=False, ge=1, le=65536
    )
    accumulate: int = setting(
        1,
        "Parts that each device splits a batch into, to save memory. The gradient is the mean over "
        "the whole batch, but batch norm sees one part at a time, which changes results.",
        card="Parts of a batch",
        in_recipe=False,
        ge=1,
    )
    precision: Precision = setting(
        "auto", "Number format; auto is bf16-mixed on GPUs that support it, else 32-true."
    )
    compile: bool = setting(
        False,
        "Compile the network first, which can take minutes.",
        card="Compiled",
        in_recipe=False,
    )
    channels_last: ChannelsLast = setting(
        "auto",
        "Keep images channels-last in memory; auto is yes for convolutional networks.",
        in_recipe=False,
    )
    num_workers: int | None = setting(
        None,
        "Threads that load batches ahead. Default: 0 on a CPU, else up to 8.",
        card="Threads that load",
        in_recipe=False,
        ge=0,
        le=1024,
    )
    checkpoint_minutes: float = setting(
        30.0,
        "Minutes between checkpoints within an epoch; each epoch ends with one.",
        card="Minutes between checkpoints",
        in_recipe=False,
        gt=0,
    )
    gradient_clip: float | None = setting(
        None,
        "Clip the gradient to this norm. Default: no limit.",
        card="Highest norm of the gradient",
        gt=0,
    )
    loss: Loss = setting("bce", "bce (binary cross-entropy), focal, or asymmetric.")
    class_weights: bool = setting(
        False,
        "Weight the presence of a label by the ratio of train patches without it to those with it.",
    )
    label_smoothing: float = setting(
        0.0, "How far targets are moved from 0 and 1 towards 0.5, from 0 to 1.", ge=0, lt=1
    )
    ema_decay: float | None = setting(
        None,
        "Decay per step of a moving average of the weights, which is then validated and "
        "published. Default: none.",
        card="Decay of averaged weights",
        ge=0,
        lt=1,
    )
    turns: bool = setting(
        False, "Rotate training images by 0, 90, 180 or 270 degrees, with equal probability."
    )
    band_dropout: float = setting(
        0.0, "Probability of setting a band of a training image to its mean.", ge=0, lt=1
    )
    freeze_backbone: bool = setting(
        False, "Train only the classification head.", card="Backbone frozen"
    )
    init: str | None = setting(
        None,
        "Run, folder or Hub id of a model with the same bands to start from.",
        card="Weights to start from",
        allowed=_MODEL,
    )
    layer_decay: float = setting(
        1.0,
        "Factor on the learning rate per layer away from the head; 1 is one rate for all.",
        card="Learning rate decay by layer",
        gt=0,
        le=1,
    )
    labels: tuple[str, ...] = setting(
        (), "Names of the labels, if they are not the 19.", allowed=_DISTINCT
    )

    def __post_init__(self) -> None:
        """Check each value for its type and range."""
        if self.init is not None:  # a run or a path is allowed too
            from reben.model.folder import place_of  # here, so that --help stays quick

            object.__setattr__(self, "init", place_of(self.init))
        for name, hint in get_type_hints(TrainConfig).items():
            value = check_value(name, getattr(self, name), hint, SETTINGS[name].allowed)
            object.__setattr__(self, name, value)
        if self.statistics == PUBLISHED and self.image_size not in published_sizes():
            sizes = ", ".join(map(str, published_sizes()))
            raise ConfigError(
                f"image_size {self.image_size} has no published band statistics; choose {sizes}, "
                "or have them measured on the train patches: --statistics auto"
            )
        BandSet.parse(self.bands)
        if self.batch_size < self.world_size * self.accumulate:
            raise ConfigError(
                f"batch_size {self.batch_size} is too small for {self.world_size} devices in "
                f"{self.accumulate} parts each. Raise it, or lower devices, num_nodes or "
                "accumulate."
            )
        if self.init is not None and self.pretrained:
            raise ConfigError(
                f"init {self.init} and pretrained both set the weights to start from. Choose one."
            )

    @property
    def world_size(self) -> int:
        """Number of processes that train together, each on its own device."""
        return self.devices * self.num_nodes

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels in the order of the outputs: ``labels``, or else the 19."""
        return self.labels or LABELS

    @property
    def band_set(self) -> BandSet:
        """The bands, in the order of the channels."""
        return BandSet.parse(self.bands)

    def differences_from_paper(self) -> list[ChangedSetting]:
        """Return the settings that can change the result and differ from the paper's.

        Backbone and bands do not count, since the paper trains several of each, nor does the
        hardware. The default warm-up is the paper's. What a precision of ``auto`` becomes depends
        on the machine: see `Run.differences_from_paper`.
        """
        usual = {field.name: field.default for field in fields(self)}
        paper = usual | {"warmup_steps": PAPER_WARMUP_STEPS, "precision": PAPER_PRECISION}
        return [
            ChangedSetting(name, value, getattr(self, name))
            for name, value in paper.items()
            if SETTINGS[name].in_recipe and getattr(self, name) not in (value, usual[name])
        ]

    def differences_from(self, other: Self) -> list[ChangedSetting]:
        """Return the settings that differ between two configs: name, other value, own value."""
        return [
            ChangedSetting(field.name, getattr(other, field.name), getattr(self, field.name))
            for field in fields(self)
            if getattr(other, field.name) != getattr(self, field.name)
        ]

    def to_toml(self) -> str:
        """Return the settings as TOML for `from_toml`, without those that are unset."""
        return to_toml(vars(self).items())

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Return the settings in a flat TOML text; the others keep their defaults.

        Raises:
            ConfigError: If the text is not TOML, names an unknown setting, or a value is invalid.
        """
        return cls.from_values(parse_toml(text, "The text of settings", ConfigError, _TOML_CURE))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings in ``values``; the others keep their defaults.

        Raises:
            ConfigError: If a setting is unknown, or a value is invalid.
        """
        known = list(SETTINGS)
        unknown = [name for name in values if name not in known]
        if unknown:
            similar = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            raise ConfigError(
                f"Unknown setting {', '.join(unknown)}.{hint} Settings: {', '.join(known)}."
            )
        return cls(**values)


SETTINGS: Mapping[str, Setting] = MappingProxyType(settings_of(TrainConfig))
"""Help, card name and range of each setting, by name."""

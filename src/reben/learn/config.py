"""Settings of a training run: the one list that the command line, run folder and card read."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self, get_type_hints

from reben.errors import ConfigError
from reben.learn.settings import (
    ABOVE_0,
    ARCHITECTURE,
    AT_LEAST_0,
    AT_LEAST_1,
    DISTINCT,
    FACTOR,
    MODEL,
    NOT_NEGATIVE,
    PART,
    SEED,
    Setting,
    check_type,
    documented,
    setting,
    settings_of,
    to_toml,
)
from reben.model.folder import place_of
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import Upsampling, published_sizes

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
ChannelsLast = Literal["auto", "yes", "no"]
Loss = Literal["bce", "focal", "asymmetric"]

PAPER_WARMUP_STEPS = 1000
"""Steps of the warm-up. Source: default of the published training script."""


class Difference(NamedTuple):
    """One setting that is not the paper's."""

    name: str
    paper: object
    own: object


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe of the BigEarthNet v2.0 paper.

    Raises:
        ConfigError: If a value cannot be; the message names the setting.
        BandsError: If a band is unknown or repeated.

    Source: arXiv:2407.03653, section 3, and the published training script.

    Example:
        >>> TrainConfig(bands="rgb", epochs=5).differences_from_paper()
        [Difference(name='epochs', paper=100, own=5)]
        >>> TrainConfig(epochs=0)
        Traceback (most recent call last):
        reben.errors.ConfigError: epochs must be at least 1; got 0.
    """

    backbone: str = setting(
        "resnet50",
        "Backbone",
        "Name of a timm architecture, for example resnet50.",
        ARCHITECTURE,
        in_recipe=False,
    )
    bands: str = setting(
        "s2",
        "Bands",
        "Bands in channel order: s1, s2, all, s2_full, all_full, rgb, 10m, or B08,B04,...",
        in_recipe=False,
    )
    epochs: int = setting(100, "Epochs at most", "Epochs at most.", AT_LEAST_1)
    batch_size: int = setting(
        512, "Batch size", "Patches in one step, over all devices together.", AT_LEAST_1
    )
    learning_rate: float = setting(
        1e-3, "Highest learning rate", "Highest learning rate, which the warm-up leads to.", ABOVE_0
    )
    weight_decay: float = setting(
        0.01, "Weight decay", "Weight decay of AdamW, on all weights.", NOT_NEGATIVE
    )
    warmup_steps: int | None = setting(
        None,
        "Warm-up steps",
        "Steps up to the full rate. Default: 1000, or a tenth of the run if fewer.",
        AT_LEAST_0,
    )
    patience: int = setting(
        5,
        "Epochs without improvement before training stops",
        "Epochs without a better validation macro average precision before it stops.",
        AT_LEAST_1,
    )
    drop_rate: float = setting(
        0.15, "Dropout", "Dropout before the head, where the backbone takes it.", PART
    )
    drop_path_rate: float = setting(
        0.15, "Drop path", "Stochastic depth, where the backbone takes it.", PART
    )
    seed: int = setting(
        42, "Seed", "What first weights, order of patches and flips follow from.", SEED
    )
    flips: bool = setting(
        True,
        "Flips",
        "Flip training images left to right and top to bottom, each half of the time.",
    )
    upsampling: Upsampling = setting(
        "nearest", "Upsampling", "How bands of 20 m and 60 m are brought to the image size."
    )
    image_size: int = setting(120, "Image size", "Side length of the images in pixels.")
    pretrained: bool = setting(
        False,
        "Pretrained weights",
        "Start from timm's pretrained weights, adapted to the number of channels.",
    )
    accelerator: Accelerator = setting(
        "auto", "Accelerator", "Hardware to train on.", in_recipe=False
    )
    devices: int = setting(
        1,
        "Devices",
        "How many devices of a machine to train on; they share each batch.",
        AT_LEAST_1,
        in_recipe=False,
    )
    num_nodes: int = setting(
        1, "Machines", "How many machines train together.", AT_LEAST_1, in_recipe=False
    )
    accumulate: int = setting(
        1,
        "Parts of a batch",
        "Parts that a device works through a batch in, one after the other, so that it "
        "needs less memory. The gradient is that of the whole batch.",
        AT_LEAST_1,
        in_recipe=False,
    )
    precision: Precision = setting(
        "auto",
        "Precision",
        "Number format of the computation; auto is bf16-mixed on GPUs that have it, and "
        "32-true elsewhere.",
    )
    compile: bool = setting(
        False,
        "Compiled",
        "Whether to compile the network first, which takes up to minutes.",
        in_recipe=False,
    )
    channels_last: ChannelsLast = setting(
        "auto",
        "Channels last",
        "Whether images lie in memory pixel by pixel; auto is yes for networks of convolutions.",
        in_recipe=False,
    )
    num_workers: int | None = setting(
        None,
        "Threads that load",
        "Threads that load batches ahead. Default: 0 on a CPU, else up to 8.",
        AT_LEAST_0,
        in_recipe=False,
    )
    checkpoint_minutes: float = setting(
        30.0,
        "Minutes between checkpoints",
        "Minutes between checkpoints within an epoch; one follows each epoch.",
        ABOVE_0,
        in_recipe=False,
    )
    gradient_clip: float | None = setting(
        None,
        "Highest norm of the gradient",
        "Highest norm of the gradient, which is shortened to it. Default: no limit.",
        ABOVE_0,
    )
    loss: Loss = setting("bce", "Loss", "bce (binary cross-entropy), focal, or asymmetric.")
    class_weights: bool = setting(
        False,
        "Class weights",
        "Weigh the presence of a label by how many patches lack it for each that has it in "
        "the train split.",
    )
    label_smoothing: float = setting(
        0.0,
        "Label smoothing",
        "How far targets are moved from 0 and 1 towards one half, 0 to 1.",
        PART,
    )
    ema_decay: float | None = setting(
        None,
        "Decay of averaged weights",
        "Keep a moving average of the weights with this decay for each step; it is what is "
        "validated and published. Default: none.",
        PART,
    )
    turns: bool = setting(
        False, "Turns", "Turn training images by 0, 90, 180 or 270 degrees, each equally often."
    )
    band_dropout: float = setting(
        0.0, "Band dropout", "Probability of setting a band of a training image to its mean.", PART
    )
    freeze_backbone: bool = setting(
        False, "Backbone frozen", "Train the classification head alone."
    )
    init: str | None = setting(
        None,
        "Weights to start from",
        "Run, folder or Hub id of a model to start from; its bands must be these bands.",
        MODEL,
    )
    layer_decay: float = setting(
        1.0,
        "Learning rate decay by layer",
        "Factor of the learning rate for each layer further away from the head; 1 is one "
        "rate for all.",
        FACTOR,
    )
    labels: tuple[str, ...] = setting(
        (), "Labels", "Names of the labels, for patches that have other ones than the 19.", DISTINCT
    )

    def __post_init__(self) -> None:
        """Check each value for its type and range."""
        if self.init is not None:  # a run or a path, too
            object.__setattr__(self, "init", place_of(self.init))
        for name, hint in get_type_hints(TrainConfig).items():
            value = check_type(name, getattr(self, name), hint)
            object.__setattr__(self, name, value)
            allowed = SETTINGS[name].allowed
            if allowed is not None and value is not None and not allowed.check(value):
                raise ConfigError(f"{name} must be {allowed.words}; got {value!r}.")
        if self.image_size not in published_sizes():
            sizes = ", ".join(map(str, published_sizes()))
            raise ConfigError(
                f"image_size {self.image_size} has no published band statistics; choose {sizes}."
            )
        BandSet.parse(self.bands)
        if self.batch_size < self.world_size * self.accumulate:
            raise ConfigError(
                f"batch_size {self.batch_size} cannot be shared by {self.world_size} devices in "
                f"{self.accumulate} parts each. Raise it, or lower devices, num_nodes or "
                "accumulate."
            )
        if self.init is not None and self.pretrained:
            raise ConfigError(
                f"init {self.init} and pretrained both say which weights to start from. Set one."
            )

    @property
    def world_size(self) -> int:
        """How many processes train together, each on a device of its own."""
        return self.devices * self.num_nodes

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels in the order of the outputs: the 19, or the own ones."""
        return self.labels or LABELS

    @property
    def band_set(self) -> BandSet:
        """The bands, in the order of the channels."""
        return BandSet.parse(self.bands)

    def differences_from_paper(self) -> list[Difference]:
        """Return the settings that can change the result and are not the paper's.

        Backbone and bands are left out, since the paper trains several of each; so is the
        hardware. A warm-up that was left to its default is the paper's.
        """
        paper = {field.name: field.default for field in fields(self)}
        paper["warmup_steps"] = PAPER_WARMUP_STEPS
        return [
            Difference(name, value, getattr(self, name))
            for name, value in paper.items()
            if SETTINGS[name].in_recipe
            and getattr(self, name) != value
            and (name != "warmup_steps" or self.warmup_steps is not None)
        ]

    def differences_from(self, other: Self) -> list[Difference]:
        """Return the settings in which two configs differ: name, the other's value, own value."""
        return [
            Difference(field.name, getattr(other, field.name), getattr(self, field.name))
            for field in fields(self)
            if getattr(other, field.name) != getattr(self, field.name)
        ]

    def to_toml(self) -> str:
        """Return the settings as TOML that `from_toml` reads; what is unset is left out."""
        return to_toml(vars(self).items())

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Return the settings in a flat TOML text; what it does not name keeps its default.

        Raises:
            ConfigError: If the text is no TOML, names an unknown setting, or a value cannot be.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"The settings are not valid TOML: {error}.") from None
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings by name; what is not named keeps its default.

        Raises:
            ConfigError: If a setting is unknown, or a value cannot be.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            similar = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            raise ConfigError(
                f"No setting {', '.join(unknown)}.{hint} Settings: {', '.join(known)}."
            )
        return cls(**values)


SETTINGS: Mapping[str, Setting] = MappingProxyType(settings_of(TrainConfig))
"""What people are told of each setting, by its name."""

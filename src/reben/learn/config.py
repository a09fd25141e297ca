"""Settings of a training run: the one list that the command line, run folder and card read.

Settings from elsewhere than code: a TOML file, and texts such as ``epochs=3``.
"""

import difflib
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

from reben.errors import ConfigError
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


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe of the BigEarthNet v2.0 paper.

    Args:
        backbone: Name of a timm architecture, for example resnet50.
        bands: Bands in channel order: s1, s2, all, s2_full, all_full, rgb, 10m, or B08,B04,...
        epochs: Epochs at most.
        batch_size: Patches in one step, over all devices together.
        learning_rate: Highest learning rate, which the warm-up leads to.
        weight_decay: Weight decay of AdamW, on all weights.
        warmup_steps: Steps up to the full rate. Default: 1000, or a tenth of the run if fewer.
        patience: Epochs without a better validation macro average precision before it stops.
        drop_rate: Dropout before the head, where the backbone takes it.
        drop_path_rate: Stochastic depth, where the backbone takes it.
        seed: What first weights, order of patches and flips follow from.
        flips: Flip training images left to right and top to bottom, each half of the time.
        upsampling: How bands of 20 m and 60 m are brought to the image size.
        image_size: Side length of the images in pixels.
        pretrained: Start from timm's pretrained weights, adapted to the number of channels.
        accelerator: Hardware to train on.
        devices: How many devices of a machine to train on; they share each batch.
        num_nodes: How many machines train together.
        accumulate: Parts that a device works through a batch in, one after the other, so that it
            needs less memory. The gradient is that of the whole batch.
        precision: Number format of the computation; auto is bf16-mixed on GPUs that have it, and
            32-true elsewhere.
        compile: Whether to compile the network first, which takes up to minutes.
        channels_last: Whether images lie in memory pixel by pixel; auto is yes for networks of
            convolutions.
        num_workers: Threads that load batches ahead. Default: 0 on a CPU, else up to 8.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one follows each epoch.
        gradient_clip: Highest norm of the gradient, which is shortened to it. Default: no limit.
        loss: bce (binary cross-entropy), focal, or asymmetric.
        class_weights: Weigh the presence of a label by how many patches lack it for each that has
            it in the train split.
        label_smoothing: How far targets are moved from 0 and 1 towards one half, 0 to 1.
        ema_decay: Keep a moving average of the weights with this decay for each step; it is what
            is validated and published. Default: none.
        turns: Turn training images by 0, 90, 180 or 270 degrees, each equally often.
        band_dropout: Probability of setting a band of a training image to its mean.
        freeze_backbone: Train the classification head alone.
        init: Folder or Hub id of a model to start from; its bands must be these bands.
        layer_decay: Factor of the learning rate for each layer further away from the head; 1 is
            one rate for all.
        labels: Names of the labels, for patches that have other ones than the 19.

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

    backbone: str = "resnet50"
    bands: str = "s2"
    epochs: int = 100
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int | None = None
    patience: int = 5
    drop_rate: float = 0.15
    drop_path_rate: float = 0.15
    seed: int = 42
    flips: bool = True
    upsampling: Upsampling = "nearest"
    image_size: int = 120
    pretrained: bool = False
    accelerator: Accelerator = "auto"
    devices: int = 1
    num_nodes: int = 1
    accumulate: int = 1
    precision: Precision = "auto"
    compile: bool = False
    channels_last: ChannelsLast = "auto"
    num_workers: int | None = None
    checkpoint_minutes: float = 30.0
    gradient_clip: float | None = None
    loss: Loss = "bce"
    class_weights: bool = False
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    turns: bool = False
    band_dropout: float = 0.0
    freeze_backbone: bool = False
    init: str | None = None
    layer_decay: float = 1.0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check each value for its type and range."""
        for name, hint in _hints().items():
            object.__setattr__(self, name, _typed(name, getattr(self, name), hint))
        for name, (fits, words) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not fits(value):
                raise ConfigError(f"{name} must be {words}; got {value!r}.")
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
            if name not in _FREE
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
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        lines = [
            f"{name} = {_toml(value)}"
            for name, value in values.items()
            if value is not None and value != ()
        ]
        return "\n".join(lines) + "\n"

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


_FREE = frozenset(
    {
        *("backbone", "bands", "accelerator", "devices", "num_nodes", "accumulate", "compile"),
        *("channels_last", "num_workers", "checkpoint_minutes"),
    }
)
_RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "backbone": (lambda value: value == value.strip() != "", "the name of an architecture"),
        **dict.fromkeys(
            ("epochs", "batch_size", "patience", "devices", "num_nodes", "accumulate"),
            (lambda value: value >= 1, "at least 1"),
        ),
        "learning_rate": (lambda value: 0 < value < math.inf, "above 0 and finite"),
        "weight_decay": (lambda value: 0 <= value < math.inf, "at least 0 and finite"),
        **dict.fromkeys(("warmup_steps", "num_workers"), (lambda value: value >= 0, "at least 0")),
        **dict.fromkeys(
            ("checkpoint_minutes", "gradient_clip"),
            (lambda value: 0 < value < math.inf, "above 0 and finite"),
        ),
        "layer_decay": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
        "init": (lambda value: value.strip() != "", "a folder or the id of a model"),
        "labels": (
            lambda value: all(value) and len(set(value)) == len(value),
            "names that occur only once",
        ),
        **dict.fromkeys(
            ("drop_rate", "drop_path_rate", "label_smoothing", "ema_decay", "band_dropout"),
            (lambda value: 0 <= value < 1, "at least 0 and below 1"),
        ),
        "seed": (lambda value: 0 <= value < 2**32, "at least 0 and below 2**32"),
    }
)


def _hints() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def _typed(name: str, value: object, hint: Any) -> object:  # noqa: ANN401 - a type
    """Return ``value`` if it is of the type ``hint``; a whole number may stand for a float."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise ConfigError(f"{name} must be one of {choices}; got {value!r}.")
        return value
    if get_origin(hint) is tuple:
        if isinstance(value, tuple | list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise ConfigError(f"{name} must be a list of names; got {value!r}.")
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join("unset" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} must be {wanted}; got {value!r}.")
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the settings that a TOML file names.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The settings in {path} cannot be read: {error}.") from None


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings given as ``name=value``, with values as in TOML; quotes may be left out.

    Raises:
        ConfigError: If a text is not of that form.

    Example:
        >>> read_assignments(["epochs=3", "flips=false", "bands=s1"])
        {'epochs': 3, 'flips': False, 'bands': 's1'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ConfigError(f"{text!r} does not set anything. Write name=value.")
        try:
            values[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = value
    return values

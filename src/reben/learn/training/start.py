"""The classifier that a training starts from: new, or with the weights of another model."""

from typing import NamedTuple

from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.model.classifier import Classifier
from reben.model.open import open_model


class Start(NamedTuple):
    """What a training starts from."""

    classifier: Classifier
    has_new_head: bool
    """Whether weights are another model's, but for the head, since that one has other labels."""


def first_classifier(config: TrainConfig) -> Start:
    """Return the classifier as it is before the first step.

    Raises:
        ConfigError: If the model to start from has other bands, images or backbone, or other
            labels and no head that could be replaced.
        ModelError: If a model cannot be built or loaded.
    """
    classifier = Classifier(
        config.backbone,
        config.band_set,
        pretrained=config.pretrained,
        labels=config.label_names,
        image_size=config.image_size,
        upsampling=config.upsampling,
        drop_rate=config.drop_rate,
        drop_path_rate=config.drop_path_rate,
    )
    return Start(classifier, config.init is not None and _take_weights(classifier, config.init))


def _take_weights(classifier: Classifier, name: str) -> bool:
    """Give the classifier the weights of another; return whether the head was left out."""
    given = open_model(name, "cpu")
    for what, setting in (
        ("backbone", "backbone"),
        ("image size", "image_size"),
        ("upsampling", "upsampling"),
    ):
        theirs, ours = getattr(given.config, setting), getattr(classifier.config, setting)
        if theirs != ours:
            raise ConfigError(
                f"init {name} has the {what} {theirs}, and {setting} is {ours}. Set {setting} to "
                f"{theirs}, or start from another model."
            )
    if given.bands.names != classifier.bands.names:
        raise ConfigError(
            f"init {name} takes the bands {', '.join(given.bands)}, and bands are "
            f"{', '.join(classifier.bands)}. Its weights fit its own bands alone: set bands to "
            f"{','.join(given.bands)}, or start from another model."
        )
    weights = given.state_dict()
    has_new_head = given.labels != classifier.labels
    if has_new_head:
        own, head = classifier.state_dict(), _head_names(classifier)
        if not head:
            raise ConfigError(
                f"init {name} has other labels, and {classifier.config.backbone} has no "
                "classification head apart from the rest that could be replaced. Start from a "
                "model with these labels, or from another backbone."
            )
        weights = {key: own[key] if key in head else value for key, value in weights.items()}
    classifier.load_state_dict(weights, strict=True)
    return has_new_head


def _head_names(classifier: Classifier) -> set[str]:
    from reben.learn.training.optimiser import classification_head

    head = classification_head(classifier)
    inside = (
        set() if head is None else {id(value) for value in head.state_dict(keep_vars=True).values()}
    )
    return {
        name for name, value in classifier.state_dict(keep_vars=True).items() if id(value) in inside
    }

"""The classifier that a training starts from: new, or with the weights of another model."""

from typing import NamedTuple

from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.learn.training.optimiser import classification_head
from reben.model.classifier import Classifier
from reben.model.open import open_model


class Start(NamedTuple):
    """What a training starts from."""

    classifier: Classifier
    has_new_head: bool
    """Whether all weights but the head are another model's, which has other labels."""


def first_classifier(config: TrainConfig) -> Start:
    """Return the classifier before the first step."""
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
    """Load the weights of another model; return whether its head was left out."""
    given = open_model(name, "cpu")
    for setting in ("backbone", "image_size", "upsampling"):
        theirs, ours = getattr(given.config, setting), getattr(classifier.config, setting)
        if theirs != ours:
            raise ConfigError(
                f"init {name} has the {setting.replace('_', ' ')} {theirs}, and {setting} is "
                f"{ours}. Set {setting} to {theirs}, or start from another model."
            )
    if given.bands.names != classifier.bands.names:
        raise ConfigError(
            f"init {name} takes the bands {', '.join(given.bands)}, and bands are "
            f"{', '.join(classifier.bands)}. Set bands to {','.join(given.bands)}, or start from "
            "another model."
        )
    weights = given.state_dict()
    has_new_head = given.labels != classifier.labels
    if has_new_head:
        own, head = classifier.state_dict(), _head_names(classifier)
        if not head:
            raise ConfigError(
                f"init {name} has other labels, and {classifier.config.backbone} has no separate "
                "classification head to replace. Start from a model with these labels, or with "
                "another backbone."
            )
        weights = {key: own[key] if key in head else value for key, value in weights.items()}
    classifier.load_state_dict(weights, strict=True)
    return has_new_head


def _head_names(classifier: Classifier) -> set[str]:
    """Return the names that weights of the head have in the state of the whole."""
    head = classification_head(classifier)
    inside = {} if head is None else head.state_dict(keep_vars=True)
    found = {id(value) for value in inside.values()}
    whole = classifier.state_dict(keep_vars=True)
    return {name for name, value in whole.items() if id(value) in found}

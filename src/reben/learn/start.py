"""The classifier that a training starts from: new, or with the weights of another model."""

from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.model.classifier import Classifier


def first_classifier(config: TrainConfig) -> Classifier:
    """Return the classifier as it is before the first step.

    Raises:
        ConfigError: If the model to start from has other bands, images or backbone.
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
    if config.init is not None:
        _take_weights(classifier, config.init)
    return classifier


def _take_weights(classifier: Classifier, name: str) -> None:
    """Give the classifier the weights of another; without the head if that has other labels."""
    given = Classifier.from_pretrained(name)
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
    if given.labels != classifier.labels:
        own = classifier.state_dict()
        head = _head_names(classifier)
        weights = {key: own[key] if key in head else value for key, value in weights.items()}
    classifier.load_state_dict(weights, strict=True)


def _head_names(classifier: Classifier) -> set[str]:
    from reben.learn.optimiser import classification_head

    head = classification_head(classifier)
    inside = (
        set() if head is None else {id(value) for value in head.state_dict(keep_vars=True).values()}
    )
    return {
        name for name, value in classifier.state_dict(keep_vars=True).items() if id(value) in inside
    }

"""Where the weights of a model come from, if from somebody else, and under which licence."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.errors import ConfigError, RebenError
from reben.learn.run import Run
from reben.learn.summary import InitialWeights
from reben.model.folder import run_folder
from reben.model.hub import fetch_file, is_hub_id, split_revision
from reben.publish.cards.facts import CardSubject
from reben.publish.cards.front_matter import LICENCES, is_default, require_licence
from reben.publish.cards.stated import read_stated
from reben.publish.pages import parse_head, read_page, split_head

_logger = logging.getLogger(__name__)
_CARD = "README.md"


@dataclass(frozen=True)
class Origin:
    """Weights of somebody else, which a model is or started from."""

    name: str  # what to call them
    licence: str | None  # their licence, as their card states it; None if none was found
    unchanged: bool = False  # whether the model is these very weights
    card: str = ""  # the text of their card, if it was read


def find_origin(subject: CardSubject, stated: str | None = None) -> Origin | None:
    """Return the weights that a model is or started from; None if they are its author's own."""
    if subject.run is not None:
        return _of_run(subject.run)
    if stated is not None:
        return _same(stated, card_on_hub(stated))
    if subject.folder is not None:
        if not (subject.folder / _CARD).is_file():
            return None
        return _same(subject.folder.name, _card_in(subject.folder))
    if is_hub_id(split_revision(subject.name)[0]):
        return _same(subject.name, card_on_hub(subject.name))
    return None


def _same(name: str, card: str) -> Origin:
    return Origin(name, licence_stated(card), unchanged=True, card=card)


def settle_licence(licence: str, origin: Origin | None) -> str:
    """Return the licence of a model: the one given, or that of the weights it comes from.

    Raises:
        ConfigError: If another licence was given than that of the same weights, or none is given
            and that of the origin is unknown.
    """
    if origin is None:
        return require_licence(licence)
    theirs = origin.licence
    if is_default(licence):
        if theirs in LICENCES:
            return theirs
        known = "none was found" if theirs is None else f"it is {theirs!r}, which the Hub lacks"
        raise ConfigError(
            f"The model comes from the weights of {origin.name}, whose licence decides what yours "
            f"may be; {known}. Look it up and pass it: licence=, or --licence."
        )
    if theirs is not None and licence != theirs:
        if origin.unchanged:
            raise ConfigError(
                f"These are the weights of {origin.name}, which are under {theirs}; a new card "
                f"does not put them under {licence}. Leave the licence out to carry theirs on."
            )
        _logger.warning(
            "The model started from the weights of %s, which are under %s; the card says %s, as "
            "you wish. Make sure that this is allowed.",
            *(origin.name, theirs, licence),
        )
    return require_licence(licence)


def say_licence(origin: Origin | None) -> str:
    """Return what a card says of the licence of the weights that a model comes from."""
    if origin is None:
        return ""
    how = "They are those of" if origin.unchanged else "Training started from those of"
    if origin.licence is None:
        return f"{how} {origin.name}, whose licence reben could not read."
    return f"{how} {origin.name}, which are under {origin.licence}."


def stated_by(origin: Origin | None) -> dict[str, str]:
    """Return what the card of the same weights states of their training, name -> value."""
    return read_stated(origin.card) if origin is not None and origin.unchanged else {}


def _of_run(run: Run) -> Origin | None:
    weights = first_weights(run)
    name = weights.get("name") or ""
    if weights["kind"] == "pretrained":
        import timm

        known = timm.get_pretrained_cfg(name or run.config.backbone, allow_unregistered=True)
        return Origin(f"timm, {name}", getattr(known, "license", None))
    if weights["kind"] == "random":
        return None
    hub_id, revision = weights.get("hub_id"), weights.get("revision")
    if hub_id is not None:
        place = f"{hub_id}@{revision}" if revision else hub_id
        return Origin(place, licence_stated(card_on_hub(place)))
    folder = Path(run.config.init or "")
    before = run_folder(folder)
    if before is not None and before.resolve() != run.path.resolve():
        return _of_run(Run.open(before))
    if folder.is_dir() and not (folder / _CARD).is_file():
        return None  # a folder of the author, as one that a card is made of
    return Origin(name, licence_stated(_card_in(folder)))


def first_weights(run: Run) -> InitialWeights:
    """Return the weights that a training started from; by its settings in older runs."""
    found: InitialWeights | None = run.summary.get("in_effect", {}).get("initial_weights")
    if found is not None:
        return found
    config, head = run.config, bool(run.summary.get("new_head", False))
    if config.init is None:
        kind: Any = "pretrained" if config.pretrained else "random"
        return InitialWeights(kind=kind, name=config.backbone, new_head=True)
    is_folder = Path(config.init).exists() or not is_hub_id(split_revision(config.init)[0])
    hub_id, revision = (None, None) if is_folder else split_revision(config.init)
    folder = Path(config.init)
    own = folder.parent.name if folder.name == "best" else folder.name
    return InitialWeights(
        kind="model", name=hub_id or own, hub_id=hub_id, revision=revision, new_head=head
    )


def card_on_hub(place: str, hub: Mapping[str, Any] | None = None) -> str:
    """Return the card of ``owner/name[@revision]``, or nothing if it has none that can be read."""
    name, revision = split_revision(place)
    try:
        path = fetch_file(name, _CARD, {**(hub or {}), "revision": revision})
        return "" if path is None else read_page(path)
    except RebenError as error:
        _logger.warning("The card of %s could not be read: %s", place, error)
        return ""


def licence_stated(card: str) -> str | None:
    """Return the licence that the front matter of a card states, or None."""
    try:
        block, _ = split_head(card)
        found = None if block is None else parse_head(block).get("license")
    except RebenError as error:
        _logger.warning("The front matter of a card could not be read: %s", error)
        return None
    return found if isinstance(found, str) and found else None


def _card_in(folder: Path) -> str:
    """Return the card in a folder, or nothing if it has none that can be read."""
    path = folder / _CARD
    try:
        return read_page(path) if path.is_file() else ""
    except RebenError as error:
        _logger.warning("%s could not be read: %s", path, error)
        return ""

"""What an author adds to the front matter of a card: fields of a template or a file, and tags."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from reben.errors import CardError, ConfigError, first_line
from reben.publish.branding import is_https
from reben.publish.cards.front_matter import is_default, require_licence
from reben.publish.cards.user_template import CardTemplate
from reben.publish.pages import parse_head, read_page
from reben.support.toml_files import parse_toml

_OURS = ("model-index", "model_name", "eval_results")
"""What only the report can say."""


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the fields of a YAML, JSON or TOML file for the front matter."""
    try:
        text = read_page(path)
        if path.suffix.lower() == ".toml":
            return parse_toml(text, str(path), CardError, "")
        return parse_head(text)
    except CardError as error:
        raise ConfigError(
            f"The fields for the front matter cannot be read from {path}: {first_line(error)}. "
            "Write them as YAML, JSON or TOML, for example: license_name: my-licence"
        ) from None


def licence_of_author(licence: str, *heads: Mapping[str, Any]) -> str:
    """Return the licence of a card, which a template or a file of fields may state."""
    for stated in (head["license"] for head in heads if head.get("license")):
        if is_default(licence):
            licence = str(stated)
        elif licence != stated:
            raise ConfigError(
                f"The front matter of your template or file says license: {stated}, but the "
                f"licence is to be {licence}. Make both the same."
            )
    return licence if is_default(licence) else require_licence(licence)


def author_head(
    template: CardTemplate,
    values: Mapping[str, Any],
    metadata: Mapping[str, Any],
    tags: Sequence[str],
) -> dict[str, Any]:
    """Return the fields and tags that an author adds, as plain JSON data."""
    head = {**template.fill_head(values), **metadata}
    for name in _OURS:
        if name in head:
            raise ConfigError(
                f"{name} is made from the report; a template or a file cannot set it. Take it out."
            )
    head.pop("license", None)
    empty = [tag for tag in tags if not tag.strip()]
    own_tags = head.get("tags", [])
    if empty or not (isinstance(own_tags, list) and all(isinstance(tag, str) for tag in own_tags)):
        raise ConfigError("Tags are a list of words; one of them is empty or no word.")
    link = head.get("license_link")
    if link is not None and not (isinstance(link, str) and is_https(link)):
        raise ConfigError(f"license_link is {link!r}; it must be an address with https://.")
    try:
        ModelCardData(**head)
        plain: dict[str, Any] = json.loads(json.dumps(head, default=str, allow_nan=False))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(
            f"The Hub cannot use the front matter of your template or file: {first_line(error)}."
        ) from None
    return {"head": plain, "tags": list(tags)}

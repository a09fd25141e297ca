"""Whose card it is: names, links and pictures on a card, from a file or a preset."""

import re
import shlex
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Self

from reben.errors import ConfigError, first_line
from reben.publish.markdown import Markdown, attribute, escape
from reben.support.bounds import MAX_TOML_BYTES, read_text
from reben.support.json_files import check_values, parse_json
from reben.support.toml_files import parse_toml

PRESETS = ("bigearth",)
"""Names that `Branding.load` knows."""
_URL = re.compile(
    r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?(/[\w./~%+,;=&?#@!:-]*)?", re.ASCII
)
INSTALL = "pip install reben"
"""The command on a card that installs reben, unless its `Branding` has another."""


def requirement(extra: str) -> str:
    """Return the line of a requirements.txt that installs what `INSTALL` does, with an extra.

    Example:
        >>> requirement("demo").split("==")[0]
        'reben[demo]'
    """
    place = shlex.split(INSTALL)[-1]
    if "://" in place:
        return f"reben[{extra}] @ {place.rpartition(' @ ')[2]}"
    return f"reben[{extra}]=={version('reben')}"


_LOGO_HEIGHT, _PICTURE_HEIGHT = 40, 160
_FORM = (
    "The file may have a list affiliations (name, url, logo), a table pictures (sentinel1, "
    "sentinel2, dataset), a thumbnail and an install command."
)
_NOTHING_ELSE: Any = {"extra": "forbid"}
"""Makes pydantic refuse unknown keys."""


@dataclass(frozen=True)
class Affiliation:
    """A group, with a link and optionally a logo.

    Args:
        name: Its name.
        url: Its page, https.
        logo: The address of its logo, https.
    """

    __pydantic_config__: ClassVar = _NOTHING_ELSE
    name: str
    url: str
    logo: str | None = None

    def __post_init__(self) -> None:
        """Check name and addresses."""
        if not self.name.strip():
            raise ConfigError("An affiliation has no name. Give it one.")
        _require_https(self.url, f"the page of {self.name}")
        _require_https(self.logo, f"the logo of {self.name}")


@dataclass(frozen=True)
class Pictures:
    """Addresses of pictures, https.

    Args:
        sentinel1: Shown for models that take Sentinel-1 bands.
        sentinel2: Shown for models that take Sentinel-2 bands.
        dataset: Shown on every card of the real data set.
    """

    __pydantic_config__: ClassVar = _NOTHING_ELSE
    sentinel1: str | None = None
    sentinel2: str | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        """Check the addresses."""
        for name, url in vars(self).items():
            _require_https(url, f"the picture {name}")


@dataclass(frozen=True)
class Branding:
    """Names, links and pictures for a card; empty by default.

    Args:
        affiliations: The groups, in the order in which they are shown.
        pictures: Pictures of the missions and of the data set.
        thumbnail: Address of the picture that the Hub shows beside links to the card.
        install: The command that installs reben, on one line.

    Raises:
        ConfigError: If an address is not https, or the command is not one line.

    Example:
        >>> [group.name for group in Branding.load("bigearth").affiliations]
        ['TU Berlin', 'RSiM', 'DIMA', 'BigEarth', 'BIFOLD']
    """

    __pydantic_config__: ClassVar = _NOTHING_ELSE
    affiliations: tuple[Affiliation, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)
    thumbnail: str | None = None
    install: str = INSTALL

    def __post_init__(self) -> None:
        """Check the address and the command."""
        _require_https(self.thumbnail, "the thumbnail")
        if "`" in self.install or len(self.install.strip().splitlines()) != 1:
            raise ConfigError(
                f"install is {self.install!r}; it must be one line without backticks, for example: "
                f"{INSTALL}"
            )

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Return the branding in a preset, or in a TOML or JSON file.

        Args:
            source: The name of a preset, or the path of the file.

        Raises:
            ConfigError: If there is no such file, or a value in it is invalid.
        """
        preset = str(source) in PRESETS
        path = files("reben.publish") / "templates" / f"{source}.toml" if preset else Path(source)
        try:
            text = read_text(Path(str(path)), MAX_TOML_BYTES)
        except OSError as error:
            raise ConfigError(
                f"Could not read affiliations from {source}: {first_line(error)}. Pass a TOML or "
                f"JSON file, or a preset: {', '.join(PRESETS)}."
            ) from None
        if path.name.endswith(".json"):
            return parse_json(text, cls, str(source), ConfigError, _FORM)
        values = parse_toml(text, str(source), ConfigError, _FORM)
        return check_values(values, cls, str(source), ConfigError, _FORM)

    def row(self) -> Markdown:
        """Return the affiliations as a Markdown table, with logos below the names if any."""
        if not self.affiliations:
            return Markdown()
        names = [f"[{escape(group.name)}]({group.url})" for group in self.affiliations]
        lines = [names, [":---:"] * len(names)]
        if any(group.logo for group in self.affiliations):
            lines.append([_logo(group) for group in self.affiliations])
        return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))

    def gallery(self, sensors: set[str], *, official: bool) -> Markdown:
        """Return the pictures for a model side by side, in HTML."""
        shown = [
            (self.pictures.sentinel1 if "Sentinel-1" in sensors else None, "Sentinel-1"),
            (self.pictures.sentinel2 if "Sentinel-2" in sensors else None, "Sentinel-2"),
            (self.pictures.dataset if official else None, "Patches of BigEarthNet v2.0"),
        ]
        return Markdown("\n".join(_image(url, alt, _PICTURE_HEIGHT) for url, alt in shown if url))


def _logo(group: Affiliation) -> str:
    picture = group.logo and _image(group.logo, group.name, _LOGO_HEIGHT)
    return f'<a href="{attribute(group.url)}">{picture}</a>' if picture else ""


def _image(url: str, alt: str, height: int) -> str:
    return f'<img src="{attribute(url)}" alt="{attribute(alt)}" height="{height}">'


def is_https(url: str) -> bool:
    """Tell whether ``url`` is an address that can stand in Markdown and HTML as it is."""
    return _URL.fullmatch(url) is not None


def _require_https(url: str | None, what: str) -> None:
    if url is not None and not is_https(url):
        raise ConfigError(
            f"The address of {what} is {url!r}; it must begin with https:// and contain no spaces, "
            "quotes or brackets."
        )

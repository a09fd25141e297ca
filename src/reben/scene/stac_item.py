"""A STAC item: fetched or opened, its addresses turned into what GDAL reads.

An item is somebody else's text. What it names is read only over http(s) or from cloud storage, or,
for an item that is itself a local file, from local files; an item of the web names no local file.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from reben.errors import DownloadError, ProductError

MAX_ITEM_BYTES = 16 * 2**20
_TIMEOUT_SECONDS = 60
_CLOUD = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_WEB = ("http", "https")


@dataclass(frozen=True)
class Item:
    """A STAC item.

    Args:
        id: Its name.
        properties: Its properties.
        assets: Key -> asset, as the item writes it.
        base: The address of a web item, the folder of a local one, empty for one in memory.
    """

    id: str
    properties: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]
    base: str

    def raster_path(self, href: str) -> str:
        """Return what GDAL opens to read an asset.

        Raises:
            ProductError: If the address is of a kind that is not read, or there is no such file.
        """
        address = self._address(href)
        scheme = urlsplit(address).scheme.lower()
        if scheme in _WEB:
            return f"/vsicurl/{address}"
        if scheme in _CLOUD:
            return _CLOUD[scheme] + address.partition("://")[2]
        return str(self._local(address, scheme))

    def shown(self, href: str) -> str:
        """Return what an asset is called in error messages."""
        return shown(self._address(href))

    def _address(self, href: str) -> str:
        if not urlsplit(href).scheme and urlsplit(self.base).scheme in _WEB:
            return urljoin(self.base, href)
        return href

    def _local(self, address: str, scheme: str) -> Path:
        if scheme not in ("", "file"):
            raise ProductError(
                f"{self.id} names {shown(address)}; only http, https, s3, gs, az and files are "
                "read. Download the asset and make the address that of the file."
            )
        if urlsplit(self.base).scheme in _WEB:
            raise ProductError(
                f"{self.id} comes from the web and names the local file {address}, which is not "
                "read. Save the item beside its files and name the saved one."
            )
        path = Path(unquote(urlsplit(address).path)) if scheme else Path(address)
        if not path.is_absolute() and not self.base:
            raise ProductError(
                f"{self.id} names {address}, and nothing says from where: an item in memory needs "
                "whole addresses, or a link with rel 'self'."
            )
        path = Path(self.base) / path
        if not path.is_file():
            raise ProductError(f"{self.id} names {address}, but there is no file {path}.")
        return path


def looks_like_item(value: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping is a STAC item, well-formed or not."""
    return "assets" in value or value.get("type") == "Feature"


def is_web_address(text: str) -> bool:
    """Tell whether a text is an http or https address."""
    return urlsplit(text).scheme.lower() in _WEB


def open_item(item: str | Path | Mapping[Any, Any]) -> Item:
    """Return a STAC item from its address, its file, or as it is in memory.

    Raises:
        DownloadError: If it cannot be fetched.
        ProductError: If it is no STAC item.
    """
    if isinstance(item, Mapping):
        return _parse(item, "the STAC item", _self_link(item))
    if isinstance(item, str) and is_web_address(item):
        return _parse(_json(_fetch(item), shown(item)), shown(item), item)
    path = Path(item).absolute()
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ITEM_BYTES + 1)
    except OSError as error:
        raise ProductError(f"Cannot read {item}: {error.strerror or error}.") from error
    return _parse(_json(content, str(item)), str(item), str(path.parent))


def shown(address: str) -> str:
    """Return an address without its query, which can hold a signature, and without user names.

    Example:
        >>> shown("https://some.host/B02.tif?sig=secret")
        'https://some.host/B02.tif'
    """
    parts = urlsplit(address)
    if not parts.scheme:
        return address
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _fetch(address: str) -> bytes:
    try:
        # Only http and https come here, and urllib follows redirections to no other kind of file.
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read(MAX_ITEM_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DownloadError(f"Cannot fetch the STAC item {shown(address)}: {error}.") from None
    return content


def _json(content: bytes, name: str) -> object:
    if len(content) > MAX_ITEM_BYTES:
        raise ProductError(f"{name} has more than {MAX_ITEM_BYTES:,} bytes; it is no STAC item.")
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProductError(f"{name} is not JSON: {error}.") from None
    return parsed


def _parse(item: object, name: str, base: str) -> Item:
    if not isinstance(item, Mapping) or item.get("type") != "Feature":
        kind = item.get("type") if isinstance(item, Mapping) else type(item).__name__
        raise ProductError(
            f"{name} is no STAC item: its type is {kind!r}, not 'Feature'. Name one item, not a "
            "collection or a list of them."
        )
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, Mapping) or not isinstance(assets, Mapping):
        raise ProductError(f"{name} has no properties or no assets, which every STAC item has.")
    whole = {
        key: asset
        for key, asset in assets.items()
        if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
    }
    return Item(str(item.get("id", name)), properties, whole, base)


def _self_link(item: Mapping[str, Any]) -> str:
    links = item.get("links") or ()
    hrefs = [
        str(link.get("href", ""))
        for link in links
        if isinstance(link, Mapping) and link.get("rel") == "self"
    ]
    address = hrefs[0] if hrefs else ""
    if is_web_address(address):
        return address
    if not address:
        return ""
    path = Path(unquote(urlsplit(address).path) if address.startswith("file:") else address)
    return str(path.parent) if path.is_absolute() else ""

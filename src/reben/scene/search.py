"""STAC items, wherever they are: one, a collection of them, a search result, an API to search.

Items come back as plain dicts whose link ``self`` is the place that relative addresses of assets
begin from. Addresses that were signed keep what signs them; no message shows it.

Source: STAC 1.1, STAC API 1.0 (item search, query extension).
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from reben.errors import ConfigError, ProductError, cut
from reben.scene.item_query import Query, cloud_of, times_of
from reben.scene.readers.stac import is_web_address, link_of, shown
from reben.scene.stac_web import code_of_others, fetch, open_api
from reben.support.bounds import (
    MAX_ITEMS,
    MAX_ITEMS_BYTES,
    MAX_ITEMS_VALUES,
    read_file,
)
from reben.support.json_files import parse_json

JSON_ENDINGS = (".json", ".geojson")
_TYPES = frozenset(("Feature", "FeatureCollection", "Catalog", "Collection"))
_CURE = "Name a STAC item, a FeatureCollection of items, or the address of a STAC API."
_PAGE = 100
_SHOWN = 20


def is_stac(source: Any) -> bool:  # noqa: ANN401 - whatever open_scene is given
    """Tell whether `items_of` takes a source: items, lists and searches of them, their files.

    Files and addresses are told by their form, not by what is in them.
    """
    if isinstance(source, str | Path):
        text = str(source)
        is_file = Path(text.partition("#")[0]).suffix.lower() in JSON_ENDINGS
        return (isinstance(source, str) and is_web_address(text)) or is_file
    if hasattr(source, "coords"):  # an array of xarray has to_dict, too
        return False
    if isinstance(source, Mapping):
        kind = source.get("type")
        return "assets" in source or (isinstance(kind, str) and kind in _TYPES)
    if isinstance(source, list | tuple):
        return bool(source) and all(map(is_stac, source))
    return isinstance(source, Iterator) or any(
        hasattr(source, name) for name in ("to_dict", "items_as_dicts")
    )


def items_of(
    source: Any,  # noqa: ANN401 - see below
    *,
    bbox: str | Sequence[float] | None = None,
    datetime: str | None = None,
    max_cloud: float | None = None,
    collection: str | None = None,
) -> list[dict[str, Any]]:
    """Return STAC items as plain dicts, by their time.

    Args:
        source: An item or a FeatureCollection of items (file, URL, mapping, or an object of pystac
            or alike), a search of pystac_client, a list of any of these, or the URL of a STAC API
            or of one of its collections. ``#ID`` behind a file or URL picks one item.
        bbox: West, south, east, north in degrees; items that touch it are wanted.
        datetime: ``2023-08-21``, ``2023-08``, ``2023``, a time (RFC 3339), or two of these as
            ``2023-06-01/2023-08-31``, of which one may be ``..``; UTC.
        max_cloud: The largest cloud cover in percent; items that do not state theirs are left out.
        collection: The collection to search, or that items are of.

    Raises:
        ConfigError: If a date or a cloud cover cannot be, or an API is searched without a box.
        AreaError: If the box is none.
        ProductError: If there is no such item, or more than `MAX_ITEMS`.
        DownloadError: If something could not be fetched.
        MissingExtraError: If an API is searched and pystac-client is not installed.
    """
    query = Query.of(bbox, datetime, max_cloud, collection)
    found = list(islice(_wanted(source, query), MAX_ITEMS + 1))
    name = _name(source)
    if len(found) > MAX_ITEMS:
        raise ProductError(
            f"{name} has more than {MAX_ITEMS} items for {str(query) or 'no query'}. Ask for a "
            "smaller box or a shorter time (--bbox, --datetime), or less cloud (--max-cloud)."
        )
    if not found and not str(query):
        raise ProductError(f"{name} holds no item. {_CURE}")
    if not found:
        raise ProductError(
            f"{name} has no item for {query}. Ask for a larger box, a longer time or more cloud; "
            "items that do not state eo:cloud_cover are left out where max_cloud is given."
        )
    return sorted(found, key=lambda item: (times_of(item)[:1], str(item.get("id"))))


def only_item(source: Any, **query: Any) -> dict[str, Any]:  # noqa: ANN401 - as for items_of
    """Return the only item of a source; arguments and errors are those of `items_of`.

    Raises:
        ProductError: If there are several, too; they are listed.
    """
    items = items_of(source, **query)
    if len(items) == 1:
        return items[0]
    listed = "; ".join(describe(item) for item in items[:_SHOWN])
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    first = cut(str(items[0].get("id")))
    is_named = isinstance(source, str | Path)
    picked = f"{_name(source).partition('#')[0]}#{first}" if is_named else "items_of(...)[0]"
    raise ProductError(
        f"{_name(source)} holds {len(items)} items, and a scene is one: {listed}{more}. Narrow "
        f"them down (--bbox, --datetime, --max-cloud), or name one: {picked}. One map of "
        "all of them: reben predict-map."
    )


def describe(item: Mapping[str, Any]) -> str:
    """Return id, date and cloud of an item for messages."""
    times, cloud = times_of(item), cloud_of(item)
    told = [f"{min(times):%Y-%m-%d}"] if times else []
    told += [] if cloud is None else [f"cloud {cloud:.0f} %"]
    return cut(str(item.get("id"))) + (f" ({', '.join(told)})" if told else "")


def _wanted(source: Any, query: Query) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    if isinstance(source, str | Path):
        yield from _of_document(source, query)
    elif isinstance(source, Mapping):
        yield from _of_mapping(source, "the mapping", "", query)
    elif hasattr(source, "items_as_dicts"):  # a search of pystac_client
        with code_of_others("the search"):
            found = list(islice(source.items_as_dicts(), MAX_ITEMS + 1))
        for item in found:
            yield from _of_mapping(item, "the search result", "", query)
    elif hasattr(source, "to_dict"):
        yield from _of_mapping(_as_dict(source), type(source).__name__, "", query)
    elif isinstance(source, Iterable):
        for one in source:
            yield from _wanted(one, query)
    else:
        raise ProductError(f"{type(source).__name__} is no STAC item, nor a list of some. {_CURE}")


def _as_dict(source: Any) -> object:  # noqa: ANN401 - an object of pystac or alike
    try:
        # pystac's, which else goes to the web for the catalogue that an item is of
        return source.to_dict(transform_hrefs=False)
    except TypeError:
        return source.to_dict()


def _of_document(source: str | Path, query: Query) -> Iterator[dict[str, Any]]:
    text, _, picked = str(source).partition("#")
    if picked and os.path.exists(source):  # noqa: PTH110 - no error for names that no file can have
        text, picked = str(source), ""
    query = replace(query, id=picked) if picked else query
    if is_web_address(text):
        name, base, content = shown(text), text, fetch(text)
    else:
        name, base = text, str(Path(text).absolute())
        try:
            content = read_file(text, MAX_ITEMS_BYTES)
        except OSError as error:
            raise ProductError(
                f"{text} cannot be read: {error.strerror or error}. {_CURE}"
            ) from None
    yield from _of_mapping(_parsed(content, name), name, base, query)


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    bounds = {"most_bytes": MAX_ITEMS_BYTES, "most_values": MAX_ITEMS_VALUES}
    return parse_json(content, dict[str, Any], name, ProductError, _CURE, **bounds)


def _of_mapping(
    found: object,
    name: str,
    base: str,
    query: Query,
) -> Iterator[dict[str, Any]]:
    """Yield the items in a mapping; ``base`` is the address or path that it came from, if any."""
    found = found if isinstance(found, Mapping) else {}
    kind = found.get("type")
    if kind == "Feature":
        item = _placed(found, base)
        if query.keeps(item):
            yield item
    elif kind == "FeatureCollection":
        features = found.get("features")
        if is_web_address(base) and link_of(found, "next"):
            raise ProductError(
                f"{name} is one page of a search. Name the API itself with --bbox and --datetime, "
                "or save all its items as one FeatureCollection."
            )
        for number, feature in enumerate(features if isinstance(features, list | tuple) else ()):
            yield from _of_mapping(feature, f"Feature {number} of {name}", base, query)
    elif kind in ("Catalog", "Collection") and is_web_address(base):
        yield from _searched(found, name, base, query)
    elif kind in ("Catalog", "Collection"):
        raise ProductError(
            f"{name} is a STAC {kind.lower()}, which holds links, not items. Name its items, or "
            "the address of a STAC API that knows them."
        )
    else:
        raise ProductError(
            f"{name} is not a STAC item: its type is {cut(repr(kind))}, not 'Feature'. {_CURE}"
        )


def _placed(item: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return an item whose link to itself is the place that its relative addresses begin from."""
    if not base or (is_web_address(base) and is_web_address(link_of(item, "self"))):
        return dict(item)
    links = item.get("links")
    others = [
        link
        for link in (links if isinstance(links, list | tuple) else ())
        if not isinstance(link, Mapping) or link.get("rel") != "self"
    ]
    return {**item, "links": [{"rel": "self", "href": base}, *others]}


def _searched(
    found: Mapping[str, Any], name: str, address: str, query: Query
) -> Iterator[dict[str, Any]]:
    """Yield the items that an API finds; ``found`` is its root, or a collection of it."""
    root, collection = address, query.collection
    if found["type"] == "Collection":
        root, collection = urljoin(address, link_of(found, "root")), str(found.get("id"))
    elif not found.get("conformsTo"):
        raise _static(name)
    if query.bbox is None and query.interval is None and query.id is None:
        raise ConfigError(
            f"{name} is a STAC API, which knows items of many places and years. Say which: "
            "--bbox WEST,SOUTH,EAST,NORTH --datetime 2023-06-01/2023-08-31 --max-cloud 20."
        )
    with code_of_others(name):
        client = open_api(root)
        if not client.conforms_to("ITEM_SEARCH"):
            raise _static(name)
        by_post = any(
            link.rel == "search" and link.extra_fields.get("method") == "POST"
            for link in client.links
        )
        asks_cloud = query.max_cloud is not None and client.conforms_to("QUERY")
        search = client.search(
            method="POST" if by_post else "GET",
            bbox=query.bbox,
            datetime=query.interval,
            collections=None if collection is None else [collection],
            ids=None if query.id is None else [query.id],
            query={"eo:cloud_cover": {"lte": query.max_cloud}} if asks_cloud else None,
            max_items=MAX_ITEMS + 1,
            limit=_PAGE,
        )
        items = list(search.items_as_dicts())
    for item in items:  # not every API heeds all that it is asked
        yield from _of_mapping(item, f"an answer of {name}", root, query)


def _static(name: str) -> ProductError:
    return ProductError(
        f"{name} cannot be searched: it is no STAC API with item search. Name an item of it."
    )


def _name(source: Any) -> str:  # noqa: ANN401 - whatever items_of takes
    """Return what messages call a source."""
    if isinstance(source, str | Path):
        return shown(str(source))
    return f"The {type(source).__name__}"

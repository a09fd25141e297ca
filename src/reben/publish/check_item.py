"""Whether the STAC item of a card folder, ``mlm.json``, is valid and about these very files."""

import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reben.errors import MissingExtraError, RebenError
from reben.publish.problems import Problem

MLM_FILE = "mlm.json"
_SHA256 = "1220"  # multihash: SHA-256, 32 bytes


def check_item(folder: Path) -> Iterator[Problem]:
    """Yield what is wrong with ``mlm.json``; nothing where there is none."""
    path = folder / MLM_FILE
    if not path.is_file():
        return
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Problem(MLM_FILE, f"it cannot be read as JSON: {error}")
        return
    if not isinstance(item, dict) or not isinstance(item.get("assets"), dict):
        yield Problem(MLM_FILE, "it is no STAC item: it has no assets")
        return
    for name, asset in item["assets"].items():
        if isinstance(asset, dict):
            yield from _check_asset(folder, name, asset)
    yield from _check_form(path)


def _check_asset(folder: Path, name: str, asset: dict[str, Any]) -> Iterator[Problem]:
    """Yield whether a file is not the one that the item has the checksum of."""
    href = str(asset.get("href", ""))
    file = folder / href
    if "://" in href or not href:
        return
    where = f"{MLM_FILE}, asset {name}"
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        yield Problem(where, f"there is no file {href}")
        return
    checksum = asset.get("file:checksum")
    if isinstance(checksum, str) and checksum.startswith(_SHA256):
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if checksum != _SHA256 + found:
            yield Problem(where, f"{href} is another file than the one that its checksum is of")
    size = asset.get("file:size")
    if isinstance(size, int) and size != file.stat().st_size:
        yield Problem(where, f"{href} has {file.stat().st_size} bytes and not {size}")


def _check_form(path: Path) -> Iterator[Problem]:
    """Yield what the rules of the extension find, where the package with them is installed."""
    if find_spec("reben.publish.mlm") is None:
        return
    try:
        found = import_module("reben.publish.mlm").check_mlm(path)
    except MissingExtraError:
        return
    except RebenError as error:
        yield Problem(MLM_FILE, str(error))
        return
    for each in found or ():
        yield each if isinstance(each, Problem) else Problem(MLM_FILE, str(each))

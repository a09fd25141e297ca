"""Whether ``mlm.json`` is valid, and says of the files beside it what they are. No network.

A STAC item against the schema of STAC and the rules of its MLM extension, without a network.

The schema of STAC itself comes with pystac, the rules of the extension as the classes of
stac-model. Nothing that is not there is fetched.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from reben.errors import ConfigError, MissingExtraError, RunError
from reben.learn.report import REPORT_FILE, Report
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE, WEIGHTS_FILE
from reben.publish.mlm_fields import band_fields, hyperparameters, input_fields, output_fields

_ITEM = "https://schemas.stacspec.org/v{version}/item-spec/json-schema/item.json"


def schema_problems(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what breaks the schema of STAC or the rules of the MLM extension.

    Raises:
        MissingExtraError: If stac-model or pystac is not installed.
    """
    try:
        import pystac.validation.local_validator as local
        import stac_model.schema as stac_model
    except ImportError as error:
        raise MissingExtraError(
            f"The check against the schemas of STAC needs stac-model and pystac, and "
            f'{error.name} is not installed. Install them with: pip install "reben[mlm]"'
        ) from error
    yield from _core_problems(item, local.get_local_schema_cache())
    yield from _extension_problems(item, stac_model.MLModelProperties)


def _core_problems(
    item: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource

    uri = _ITEM.format(version=item.get("stac_version"))
    if uri not in schemas:
        yield f"stac_version {item.get('stac_version')!r} is not one that pystac has a schema of"
        return
    # A registry that retrieves nothing: what is not in it cannot be had.
    registry: Any = Registry().with_resources(
        [(place, Resource.from_contents(schema)) for place, schema in schemas.items()]
    )
    errors = Draft7Validator(schemas[uri], registry=registry).iter_errors(item)
    for error in errors:
        yield f"STAC: {error.json_path}: {error.message[:200]}"


def _extension_problems(item: Mapping[str, Any], properties_class: Any) -> Iterator[str]:  # noqa: ANN401 - a pydantic class
    from pydantic import ValidationError

    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        yield "STAC: an item has properties"
        return
    fields = {key: value for key, value in properties.items() if key.startswith("mlm:")}
    known = {field.alias for field in properties_class.model_fields.values()}
    yield from (f"MLM: there is no field {key}" for key in fields if key not in known)
    try:
        properties_class.model_validate(fields)
    except ValidationError as error:
        for fault in error.errors():
            yield f"MLM: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"


MLM_FILE = "mlm.json"
ONNX_FILE = "model.onnx"
STAC_VERSION = "1.1.0"
MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
SAR = "https://stac-extensions.github.io/sar/v1.3.2/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]")
_SHA256 = "1220"

logger = logging.getLogger(__name__)


def multihash(sha256: str) -> str:
    """Return a SHA-256 as the STAC extension file has it: with its kind and length in front."""
    return _SHA256 + sha256


def metrics_fields(report: Report) -> dict[str, Any]:
    """Return the headline figures of a report as the item has them."""
    return {
        "split": report.split,
        "num_patches": report.num_patches,
        "threshold": report.threshold,
        "macro": asdict(report.macro),
        "micro": asdict(report.micro),
    }


def check_mlm(path: str | Path, *, schema: bool | None = None) -> tuple[str, ...]:
    """Return what is wrong with an ``mlm.json``, one sentence each; nothing if all is well.

    It is held against the schema of STAC 1.1 and the rules of the MLM extension (by stac-model),
    and against the files beside it: sizes and checksums, the config (bands in order, statistics,
    labels, thresholds) and the report. Nothing is fetched.

    Args:
        path: The file, or its folder.
        schema: Whether to demand the check against schemas, which needs the extra ``mlm``. By
            default it is left out where that is not installed, and the log says so.

    Raises:
        MissingExtraError: If ``schema`` is true and the extra is not installed.
    """
    path = Path(path)
    path = path / MLM_FILE if path.is_dir() else path
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return (f"{path.name} cannot be read as JSON: {error}",)
    if not isinstance(item, dict):
        return (f"{path.name} holds no item but a {type(item).__name__}",)
    problems: list[str] = []
    if schema is not False:
        problems += _against_schemas(item, demanded=schema is True)
    for check in (_extension, _band_references, _files, _config, _report):
        problems += _guarded(check, item, path.parent)
    return tuple(dict.fromkeys(problems))


def _against_schemas(item: Mapping[str, Any], *, demanded: bool) -> list[str]:
    try:
        return list(schema_problems(item))
    except MissingExtraError:
        if demanded:
            raise
        logger.warning(
            "%s was not held against the schemas of STAC, since stac-model is not installed. "
            'Install it with: pip install "reben[mlm]"',
            MLM_FILE,
        )
        return []


def _guarded(
    check: Callable[[Mapping[str, Any], Path], Iterator[str]], item: Mapping[str, Any], folder: Path
) -> list[str]:
    """Return the problems that a check finds; an item of another shape is one by itself."""
    try:
        return list(check(item, folder))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        return [f"a field is missing or of another kind: {type(error).__name__} {error}"]


def _extension(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield what breaks rules of the extension that stac-model does not hold."""
    del folder
    if MLM not in item["stac_extensions"]:
        yield f"stac_extensions lacks {MLM}"
    name = item["properties"]["mlm:name"]
    if not _NAME.fullmatch(name):
        yield f"mlm:name {name!r} must be letters, digits, . _ - and spaces"
    models = _model_assets(item)
    if not models:
        yield "no asset has the role mlm:model"
    for key, asset in item["assets"].items():
        if (key in models) != ("mlm:artifact_type" in asset):
            yield f"asset {key}: the role mlm:model and mlm:artifact_type belong together"


def _band_references(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield bands that one place of the item names and another does not define."""
    del folder
    defined = _names(item["properties"])
    for key, asset in _model_assets(item).items():
        if _names(asset) != defined:
            yield f"asset {key} and the properties do not define the same bands"
    for number, entry in enumerate(item["properties"]["mlm:input"]):
        unknown = [band for band in entry.get("bands", ()) if band not in defined]
        if unknown:
            yield f"mlm:input {number} names bands that are not defined: {', '.join(unknown)}"


def _model_assets(item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    assets = item["assets"].items()
    return {key: asset for key, asset in assets if "mlm:model" in asset.get("roles", ())}


def _names(holder: Mapping[str, Any]) -> list[str]:
    return [band["name"] for band in holder.get("bands", ())]


def _seal(asset: Mapping[str, Any], file: Path, place: PurePosixPath) -> Iterator[str]:
    """Yield where a file has another size or checksum than its asset says."""
    if file.stat().st_size != asset["file:size"]:
        yield f"{place} has {file.stat().st_size} bytes; {MLM_FILE} says {asset['file:size']}"
    with file.open("rb") as opened:
        found = multihash(hashlib.file_digest(opened, "sha256").hexdigest())
    if found != asset["file:checksum"]:
        yield f"{place} is not the file that {MLM_FILE} describes: its checksum is another"


def _files(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield where an asset is not the file beside the item."""
    described = set()
    for key, asset in item["assets"].items():
        place = PurePosixPath(asset["href"])
        if place.is_absolute() or ".." in place.parts or ":" in asset["href"]:
            yield f"asset {key} lies outside the folder: {asset['href']}"
            continue
        described.add(str(place))
        file = folder / place
        if not file.is_file():
            yield f"asset {key}: there is no file {place}"
            continue
        if "file:checksum" in asset:  # the text of a card has none: it may be edited
            yield from _seal(asset, file, place)
    for name in (WEIGHTS_FILE, ONNX_FILE):
        if (folder / name).is_file() and name not in described:
            yield f"{MLM_FILE} does not describe {name}"


def _config(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield where the item says other things than the config beside it."""
    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        config = ModelConfig.from_dict(values)
    except (OSError, ValueError, ConfigError) as error:
        yield f"{CONFIG_FILE} beside it cannot be read: {error}"
        return
    properties = item["properties"]
    if properties["mlm:architecture"] != config.backbone:
        yield f"mlm:architecture is {properties['mlm:architecture']}, not {config.backbone}"
    entry = properties["mlm:input"][0]
    if entry["bands"] != list(config.bands):
        yield f"mlm:input has the bands {', '.join(entry['bands'])}; the config has {config.bands}"
    if properties["bands"] != [band_fields(band) for band in config.bands]:
        yield "the definitions of the bands are not those of the bands of the config"
    yield from _different("mlm:input", entry, input_fields(config))
    yield from _different("mlm:output", properties["mlm:output"][0], output_fields(config))
    yield from _different(
        "mlm:hyperparameters", properties["mlm:hyperparameters"], hyperparameters(config, None)
    )


def _different(where: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"{where}: {key} is not what follows from {CONFIG_FILE}"


def _report(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield where the figures are not those of the report beside the item."""
    figures = item["properties"].get("reben:metrics")
    if figures is None or not (folder / REPORT_FILE).is_file():
        return
    try:
        report = Report.load(folder / REPORT_FILE)
    except RunError as error:
        yield f"{REPORT_FILE} beside it cannot be read: {error}"
        return
    yield from (
        f"reben:metrics: {key} is not that of {REPORT_FILE}"
        for key, value in metrics_fields(report).items()
        if figures.get(key) != value
    )

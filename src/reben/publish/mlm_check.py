"""Check ``mlm.json``: is it valid, and does it describe the files beside it?

It is validated against the STAC schema, which is included in pystac, and the rules of the MLM
extension, which are classes of stac-model. Then it is built again and compared. Nothing is
downloaded.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from reben.data.identity import DataIdentity
from reben.errors import CardError, MissingExtraError, ModelFolderError, RebenError
from reben.learn.report import REPORT_FILE, Report
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE
from reben.model.weights import WEIGHTS_FILE
from reben.publish.checks.differences import differences
from reben.publish.mlm_fields import ASSETS, MLM_CURE, MLM_FILE, ONNX_FILE, ItemFacts, item_fields
from reben.support.extras import optional
from reben.support.json_files import check_values, read_json

_ITEM = "https://schemas.stacspec.org/v{version}/item-spec/json-schema/item.json"
_FREE = ("title", "description", "license")  # authors may change these

logger = logging.getLogger(__name__)


def check_mlm(path: str | Path, *, schema: bool | None = None) -> tuple[str, ...]:
    """Return what is wrong with an ``mlm.json``, one sentence each; nothing if all is well.

    It is validated against the schema of STAC 1.1 and the rules of the MLM extension (with
    stac-model), and compared with the files beside it: sizes and checksums, the config (bands in
    order, statistics, labels, thresholds) and the report. Authors may add to it, and change its
    title, description and license. Nothing is downloaded.

    Args:
        path: The file, or its folder.
        schema: Whether to validate against the schemas, which needs the extra ``mlm``. By default
            this is skipped, with a log message, if the extra is not installed.

    Raises:
        MissingExtraError: If ``schema`` is true and the extra is not installed.
    """
    path = Path(path)
    path = path / MLM_FILE if path.is_dir() else path
    try:
        item = read_json(path, dict[str, Any], ModelFolderError, MLM_CURE)
    except ModelFolderError as error:
        return (str(error),)
    problems = [] if schema is False else _against_schemas(item, demanded=schema is True)
    try:
        problems += _against_files(item, path.parent)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problems.append(f"a field is missing or has the wrong type: {type(error).__name__} {error}")
    except RebenError as error:
        problems.append(str(error))
    return tuple(dict.fromkeys(problems))


# Against the folder ------------------------------------------------------------------------------


def _against_files(item: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield where an item differs from the one that reben writes for the files beside it."""
    yield from _check_assets(item["assets"], folder)
    right = _build_again(item, folder)
    for name in right.pop("stac_extensions"):
        if name not in item["stac_extensions"]:
            yield f"stac_extensions lacks {name}"
    for fields in (right["properties"], *right["assets"].values()):
        for name in _FREE:
            fields.pop(name, None)
    del right["links"], right["stac_version"]
    yield from differences(item, right, "item", more=True)


def _build_again(item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the item that reben writes for a folder; what no file says is taken from ``item``."""
    values = read_json(
        folder / CONFIG_FILE, dict[str, Any], ModelFolderError, "Save the model again."
    )
    properties, data = item["properties"], item["properties"]["reben:data"]
    measured = "reben:metrics" in properties and (folder / REPORT_FILE).is_file()
    keys = {ASSETS[name].key for name in (WEIGHTS_FILE, ONNX_FILE)} | item["assets"].keys()
    files = {name: folder / name for name, asset in ASSETS.items() if asset.key in keys}
    return item_fields(
        ModelConfig.from_dict(values),
        {name: file for name, file in files.items() if file.is_file()},
        Report.load(folder / REPORT_FILE) if measured else None,
        ItemFacts(
            name=item["id"],
            licence=properties["license"],
            num_train=properties["mlm:hyperparameters"].get("num_train"),
            data=data
            if data is None
            else check_values(data, DataIdentity, f"reben:data in {MLM_FILE}", CardError, MLM_CURE),
            num_parameters=properties["mlm:total_parameters"],
            torch_version=properties["mlm:framework_version"],
        ),
    )


def _check_assets(assets: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield assets that are not in the folder, or whose role does not fit their type."""
    for key, asset in assets.items():
        if ("mlm:model" in asset.get("roles", ())) != ("mlm:artifact_type" in asset):
            yield f"asset {key}: the role mlm:model and mlm:artifact_type belong together"
        place = PurePosixPath(asset["href"])
        if place.is_absolute() or ".." in place.parts or ":" in asset["href"]:
            yield f"asset {key} is outside the folder: {asset['href']}"
        elif not (folder / place).is_file():
            yield f"asset {key}: there is no file {place}"


# Against schemas ---------------------------------------------------------------------------------


def _against_schemas(item: Mapping[str, Any], *, demanded: bool) -> list[str]:
    use = "Validation against the STAC schemas"
    try:
        validator = optional("pystac.validation.local_validator", "mlm", use)
        properties = optional("stac_model.schema", "mlm", use).MLModelProperties
    except MissingExtraError as error:
        if demanded:
            raise
        logger.warning("%s was not validated against the STAC schemas. %s", MLM_FILE, error)
        return []
    schemas = validator.get_local_schema_cache()
    return [*_core_problems(item, schemas), *_extension_problems(item, properties)]


def _core_problems(
    item: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource

    uri = _ITEM.format(version=item.get("stac_version"))
    if uri not in schemas:
        yield f"pystac has no schema for stac_version {item.get('stac_version')!r}"
        return
    # This registry downloads nothing.
    registry: Any = Registry().with_resources(
        [(place, Resource.from_contents(schema)) for place, schema in schemas.items()]
    )
    for error in Draft7Validator(schemas[uri], registry=registry).iter_errors(item):
        yield f"STAC: {error.json_path}: {error.message[:200]}"


def _extension_problems(item: Mapping[str, Any], properties_class: Any) -> Iterator[str]:  # noqa: ANN401 - a pydantic class
    from pydantic import ValidationError

    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        yield "STAC: the item has no properties"
        return
    fields = {key: value for key, value in properties.items() if key.startswith("mlm:")}
    known = {field.alias for field in properties_class.model_fields.values()}
    yield from (f"MLM: there is no field {key}" for key in fields if key not in known)
    try:
        properties_class.model_validate(fields)
    except ValidationError as error:
        for fault in error.errors():
            yield f"MLM: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"

"""A STAC item against the schema of STAC and the rules of its MLM extension, without a network.

The schema of STAC itself comes with pystac, the rules of the extension as the classes of
stac-model. Nothing that is not there is fetched.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from reben.errors import MissingExtraError

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

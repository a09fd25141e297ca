"""The verb that writes a model for other programs: export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reben.app.flags import AsJson, AtLeastOne, Switch
from reben.app.terminal import format_bytes, print_json, print_text, talk
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.model.folder import FoundModel


def export(  # noqa: PLR0913 - all but the first are flags
    model: str,
    /,
    *,
    out: Path,
    opset: Annotated[int | None, Parameter(show_default=False)] = None,
    sentinel2_dtype: Literal["float32", "uint16"] = "float32",
    bands: str | None = None,
    int8: Switch = False,
    data: Path | None = None,
    calibration_patches: AtLeastOne | None = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as one ONNX file: raw bands in, scores out, preprocessing inside.

    The file is compared with the model in ONNX Runtime and kept only if logits agree within 1e-4.
    If it goes into the model's own folder as model.onnx, the mlm.json there describes it too.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        out: The file to write, for example model.onnx.
        opset: Version of the ONNX operators. Default: 18.
        sentinel2_dtype: What Sentinel-2 bands are given as.
        bands: Bands of the model in their order, for a published model whose name does not say.
        int8: Compute in 8-bit integers. The change of average precision on the validation split of
            --data is measured, printed, and kept in the file and in a .json beside it.
        data: With --int8: the store whose training split gives the ranges of the layers.
        calibration_patches: With --int8: how many patches of it, at most. Default: 256.
        as_json: Write the result as JSON.
    """
    from reben.model.folder import find_model
    from reben.model.open import open_model

    if int8 == (data is None) or (calibration_patches is not None and not int8):
        raise ConfigError(
            "An export in 8-bit integers needs patches, and no other export does: --int8 --data "
            "STORE [--calibration-patches N]"
        )
    if int8 and sentinel2_dtype != "float32":
        raise ConfigError("Files in 8-bit integers take float32. Leave --sentinel2-dtype out.")
    found = find_model(model, bands=bands)
    if data is not None:
        _export_int8(found, data, out, (calibration_patches, opset), as_json=as_json)
        return
    # Not before: they import what takes seconds.
    from reben.model.export import export_onnx
    from reben.model.onnx_graph import OPSET

    written = export_onnx(
        open_model(found, "cpu"),
        out,
        opset=OPSET if opset is None else opset,
        sentinel2_dtype=sentinel2_dtype,
    )
    _describe(Path(model), out)
    checked = (
        "not compared with the model, since ONNX Runtime is not installed"
        if written.max_difference is None
        else f"within {written.max_difference:.0e} of the model in ONNX Runtime"
    )
    talk(
        f"{format_bytes(written.num_bytes)}, opset {written.opset}, inputs "
        f"{', '.join(written.inputs)}, outputs {' and '.join(written.outputs)}; {checked}."
    )
    if as_json:
        print_json(
            {
                "file": str(written.path),
                "opset": written.opset,
                "inputs": list(written.inputs),
                "outputs": list(written.outputs),
                "num_bytes": written.num_bytes,
                "max_difference": written.max_difference,
            }
        )
    else:
        print_text(str(written.path))


def _export_int8(
    found: "FoundModel",
    data: Path,
    out: Path,
    numbers: tuple[int | None, int | None],
    *,
    as_json: bool,
) -> None:
    """Write the file in 8-bit integers, and say what that costs."""
    from reben.data.opening import open_dataset
    from reben.support.plain_json import to_plain

    dataset = open_dataset(data, found.config.bands, labels=found.config.labels)
    for split in ("train", "validation"):
        dataset[split]  # a split without patches is told before torch is imported
    from reben.learn.quantise import NUM_CALIBRATION, export_int8
    from reben.model.onnx_graph import OPSET

    written = export_int8(
        found,
        dataset,
        out,
        num_calibration=numbers[0] or NUM_CALIBRATION,
        opset=numbers[1] or OPSET,
    )
    cost = written.cost
    changes = ", ".join(
        f"{name} {before:.4f} -> {after:.4f} ({after - before:+.4f})"
        for name, (before, after) in (("macro", cost.macro), ("micro", cost.micro))
    )
    talk(
        f"{format_bytes(written.num_bytes)} in 8-bit integers, from {cost.num_calibration} patches "
        f"of the training split. Average precision on {cost.num_validation} patches of the "
        f"validation split, float -> int8: {changes}. {written.beside} has it too."
    )
    if as_json:
        print_json({"file": str(out), "num_bytes": written.num_bytes, **to_plain(cost)})
    else:
        print_text(str(out))


def _describe(model: Path, out: Path) -> None:
    """Add the file to the description of the model that it lies beside."""
    from reben.publish.mlm import MLM_FILE, add_file
    from reben.publish.mlm_fields import ONNX_FILE

    folder = out.absolute().parent
    if out.name == ONNX_FILE and folder == model.absolute() and (folder / MLM_FILE).is_file():
        add_file(folder, ONNX_FILE)
        talk(f"{folder / MLM_FILE} describes it.")

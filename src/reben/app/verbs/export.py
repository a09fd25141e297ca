"""The verb that writes a model for other programs: export."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reben.app.flags import AsJson
from reben.app.terminal import format_bytes, print_json, print_text, talk


def export(
    model: str,
    /,
    *,
    out: Path,
    opset: Annotated[int | None, Parameter(show_default=False)] = None,
    sentinel2_dtype: Literal["float32", "uint16"] = "float32",
    bands: str | None = None,
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
        as_json: Write the result as JSON.
    """
    from reben.model.folder import find_model
    from reben.model.open import open_model

    found = find_model(model, bands=bands)
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


def _describe(model: Path, out: Path) -> None:
    """Add the file to the description of the model that it lies beside."""
    from reben.publish.mlm import MLM_FILE, add_file
    from reben.publish.mlm_fields import ONNX_FILE

    folder = out.absolute().parent
    if out.name == ONNX_FILE and folder == model.absolute() and (folder / MLM_FILE).is_file():
        add_file(folder, ONNX_FILE)
        talk(f"{folder / MLM_FILE} describes it.")

"""The weights of a model in ``model.safetensors``: compared with the model first, then read.

The header of the file says names, shapes and types. Nothing else is read, and no memory is taken
for the model, before they are those that its config leads to.
"""

import hashlib
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import (
    ModelError,
    ModelFolderError,
    UnsafeWeightsError,
    WeightsMismatchError,
    first_line,
)
from reben.support.bounds import MAX_WEIGHTS_HEADER, MEBIBYTE

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS_FILE = "model.safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_FLOATS = ("F64", "F32", "F16", "BF16")
_WHOLE = ("I64", "I32", "I16", "I8", "U8")
_AGAIN = "Fetch it again, or save the model again with Classifier.save_pretrained."


@contextmanager
def open_weights(folder: Path, name: str | Path, framework: str = "pt") -> Iterator[Any]:
    """Yield the weights in a model folder, of which only the header is read yet.

    Args:
        folder: The folder.
        name: What messages call the model.
        framework: What the tensors will be of; ``numpy`` does without importing torch.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        refuse_pickled(name, [file.name for file in folder.iterdir()])
        raise ModelFolderError(f"{name} holds no {WEIGHTS_FILE}, so it is no model. {_AGAIN}")
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start[:2] == b"PK" or start[:1] == b"\x80":
            raise unsafe(name, f"{WEIGHTS_FILE}, which is a pickle under a wrong name")
        if start == b"version ":
            raise ModelFolderError(
                f"{path} is a pointer of Git LFS, not the weights themselves. Fetch them with: "
                "git lfs pull"
            )
        if int.from_bytes(start, "little") > MAX_WEIGHTS_HEADER:
            most = MAX_WEIGHTS_HEADER // MEBIBYTE
            raise ModelFolderError(
                f"{path} is damaged: its header claims more than {most} MiB. {_AGAIN}"
            )
        with safe_open(path, framework) as weights:
            yield weights
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path} is damaged: {first_line(error)}. {_AGAIN}") from None


def require_fit(model: "nn.Module", weights: Any, source: str | Path) -> None:  # noqa: ANN401 - of safetensors
    """Check that weights are those of ``model``: all of them, of its shapes, and nothing else.

    Args:
        model: The model; shapes alone (device ``meta``) will do.
        weights: From `open_weights`.
        source: What messages call the model.
    """
    wanted = model.state_dict()
    found = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no mapping
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    reshaped = [
        f"{name} {tuple(found[name].get_shape())} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and tuple(found[name].get_shape()) != tuple(tensor.shape)
    ]
    if missing or extra or reshaped:
        raise WeightsMismatchError(
            f"The weights in {source} do not fit the model that its config describes. Missing: "
            f"{_listed(missing)}. Left over: {_listed(extra)}. Of another shape: "
            f"{_listed(reshaped)}. Nothing was loaded. Fetch config and weights together; of a "
            "checkpoint, name the backbone and the bands that it was trained with."
        )
    odd = [
        f"{name} is {found[name].get_dtype()}"
        for name, tensor in wanted.items()
        if found[name].get_dtype() not in (_FLOATS if tensor.is_floating_point() else _WHOLE)
    ]
    if odd:
        raise WeightsMismatchError(
            f"The weights in {source} are of a type that they cannot have: {_listed(odd)}; weights "
            f"are {', '.join(_FLOATS)}, counters {', '.join(_WHOLE)}. Nothing was loaded. {_AGAIN}"
        )


def load_weights(model: "nn.Module", weights: Any, source: str | Path) -> None:  # noqa: ANN401 - of safetensors
    """Put weights from `open_weights` into a model that they fit (see `require_fit`)."""
    tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118 - no mapping
    model.load_state_dict(tensors, strict=True)
    require_finite(model.state_dict(), f"The weights in {source}", _AGAIN)


def require_finite(tensors: "Mapping[str, Tensor]", what: str, cure: str) -> None:
    """Check that no weight is NaN or infinite; ``what`` begins the message, ``cure`` ends it."""
    bad = [
        name
        for name, tensor in tensors.items()
        # A sum is quicker than a look at each value, and finite only if they all are.
        if tensor.is_floating_point()
        and not math.isfinite(tensor.sum().item())
        and not bool(tensor.isfinite().all())
    ]
    if bad:
        raise ModelError(f"{what} hold NaN or infinite values: {_listed(bad)}. {cure}")


def digest_weights(tensors: "Mapping[str, Tensor]", start: bytes = b"") -> str:
    """Return the SHA-256 of names and values of weights, after ``start``."""
    import torch

    digest = hashlib.sha256(start)
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()


def stale_exports(folder: Path, fingerprint: str) -> list[Path]:
    """Return the ONNX files in a folder that `reben.export_onnx` did not make of this model."""
    return [path for path in sorted(folder.glob("*.onnx")) if not _holds(path, fingerprint)]


def _holds(path: Path, fingerprint: str) -> bool:
    """Tell whether a file holds a fingerprint, which is plain text among the metadata of ONNX."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.rfind(fingerprint.encode()) >= 0


def digest_of_folder(folder: Path) -> str:
    """Return the same of the weights in a model folder."""
    with open_weights(folder, folder) as weights:
        return digest_weights({name: weights.get_tensor(name) for name in weights.keys()})  # noqa: SIM118


def weights_as_bytes(tensors: "Mapping[str, Tensor]", where: Path) -> bytes:
    """Return weights as the content of ``model.safetensors``, if they can be loaded again."""
    from safetensors.torch import save

    cure = "Save a model of an earlier epoch, or train again with a lower learning rate."
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ModelError(
            f"Nothing was written to {where}: the model is on the device meta, which holds shapes "
            "and no weights. Load weights first."
        )
    require_finite(tensors, f"Nothing was written to {where}: the weights", cure)
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    return save(plain, {"format": "pt"})


def refuse_pickled(name: str | Path, files: Iterable[str]) -> None:
    """Say so if the weights are among ``files`` as a pickle."""
    pickled = sorted(file for file in files if file.endswith(PICKLED))
    if pickled:
        raise unsafe(name, _listed(pickled))


def unsafe(name: str | Path, what: str) -> UnsafeWeightsError:
    """Return the error about pickled weights."""
    return UnsafeWeightsError(
        f"{name} holds only pickled weights ({what}). Opening a pickle can run any code, so reben "
        f"does not. Ask the authors for {WEIGHTS_FILE}, or convert it where you trust it."
    )


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return (f"{shown} and {len(names) - most} more" if len(names) > most else shown) or "none"

"""Networks that run outside torch, on a CPU: ONNX Runtime and OpenVINO.

Both take the network as ONNX, from memory; nothing is read from a file.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from reben.errors import ExportError, first_line
from reben.model.onnx_graph import LOGITS, OPSET, translate
from reben.support.extras import optional

Run = Callable[[Tensor], Tensor]
"""Normalised images [B, C, H, W] to logits [B, K], both float32, on the CPU."""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Engine -> the package that it is, which the extra of the same name installs."""
_EXPORTERS = ("onnx", "onnxscript")


def versions() -> dict[str, str]:
    """Return the engines that are installed, and their versions; none of them is imported."""
    found = {}
    for engine, package in RUNTIMES.items():
        try:
            installed = [version(name) for name in (package, *_EXPORTERS)]
        except PackageNotFoundError:
            continue
        found[engine] = installed[0]
    return found


def require_installed(engine: str) -> None:
    """Return if an engine can be used.

    Raises:
        MissingExtraError: If it is not installed; the message says how to.
    """
    with _without_telemetry():
        for package in (RUNTIMES[engine], *_EXPORTERS):
            optional(package, engine, f"The engine {engine}")


def as_onnx(network: nn.Module, images_BCHW: Tensor) -> bytes:
    """Return a network as ONNX: ``images`` to ``logits``, for any number of patches.

    Args:
        network: In eval mode, on the CPU.
        images_BCHW: Two or more images that it takes.

    Raises:
        ExportError: If ONNX cannot express it.
    """
    proto = translate(
        _Logits(network).eval(), {"images": images_BCHW}, (LOGITS,), OPSET, "the network"
    )
    content: bytes = proto.SerializeToString()
    return content


class _Logits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *images_BCHW: Tensor) -> Any:  # noqa: ANN401 - whatever the network returns
        return self.network(*images_BCHW)


def start(engine: str, graph: bytes, num_threads: int) -> Run:
    """Return the network as an engine runs it.

    Args:
        engine: A key of `RUNTIMES`.
        graph: What `as_onnx` returned.
        num_threads: How many threads it uses.

    Raises:
        MissingExtraError: If the engine is not installed.
        ExportError: If it cannot run the network.
    """
    require_installed(engine)
    make = _start_onnxruntime if engine == "onnx" else _start_openvino
    try:
        return make(graph, num_threads)
    except Exception as error:  # their own kinds of error, which derive from nothing else
        raise ExportError(f"{RUNTIMES[engine]} cannot run it: {first_line(error)}") from error


def _start_onnxruntime(graph: bytes, num_threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(images_BCHW: Tensor) -> Tensor:
        (logits_BK,) = session.run([LOGITS], {"images": images_BCHW.contiguous().numpy()})
        return torch.from_numpy(logits_BK)

    return run


def _start_openvino(graph: bytes, num_threads: int) -> Run:
    openvino: Any = sys.modules["openvino"]
    model = openvino.Core().read_model(graph, b"")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 by default, where the processor has it
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    one_at_a_time = Lock()

    def run(images_BCHW: Tensor) -> Tensor:
        with one_at_a_time:
            found = request.infer([images_BCHW.contiguous().numpy()], share_inputs=True)[0]
        return torch.from_numpy(found)

    return run


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keep openvino from telling Google Analytics that it was imported, as it does by default."""
    package = "openvino_telemetry"
    if package in sys.modules:  # somebody else's choice
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]

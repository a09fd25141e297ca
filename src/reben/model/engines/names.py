"""The names of the engines; importing them imports nothing."""

from typing import Literal

Engine = Literal["auto", "eager", "optimised", "compiled", "onnx", "openvino"]
"""What computes the logits: the plain network; the network rearranged; that compiled; ONNX Runtime;
OpenVINO; or the quickest of them for the work, measured where it is worth that."""

"""A moving average of the weights, which is smoother than the weights themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of all that a model's state holds; whole numbers are copied.

    It starts from the weights as they are when training starts. In the first steps the decay is
    lower, (1 + step) / (10 + step), so that the start is soon forgotten.

    Args:
        model: The model that learns.
        decay: How much of the average each step keeps, 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_steps = 0
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                average = self.tensors[name] = self.tensors[name].to(value.device)
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the averaged weights while the block runs."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def swap(self, model: nn.Module) -> None:
        """Exchange the weights of the model and the average."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                own = value.clone()
                value.copy_(self.tensors[name])
                self.tensors[name] = own

    def state_dict(self) -> dict[str, object]:
        """Return the average, to go on with `load_state_dict`."""
        return {"num_steps": self.num_steps, "tensors": dict(self.tensors)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on with an average."""
        self.num_steps = int(state["num_steps"])  # type: ignore[call-overload]
        self.tensors = {
            name: value.clone()
            for name, value in state["tensors"].items()  # type: ignore[attr-defined]
        }

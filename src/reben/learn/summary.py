"""The content of a run's ``summary.json``: counts, data, and what was in effect."""

from typing import Literal

from typing_extensions import TypedDict

from reben.data.identity import DataIdentity, Drawn, StoredPart
from reben.support.json_files import Count, Finite


class _Data(TypedDict, total=False):
    store: str
    fingerprint: str
    made_up_by: str | None
    label_table: str | None
    identity: DataIdentity
    metadata: list[str]
    """The tables that list the patches. These paths, like the store, are of this machine."""
    num_patches: dict[str, Count]
    """Split -> number of patches that were trained, or validated, on."""
    parts: dict[str, StoredPart]
    """Split -> how many of its patches that the metadata list were in the store, if not all."""
    drawn: Drawn | None
    """What was drawn of the train split, if it was a fraction."""


class InitialWeights(TypedDict, total=False):
    """The weights that a training started from."""

    kind: Literal["random", "pretrained", "model"]
    """Random, timm's, or those of another model of reben (`TrainConfig.init`)."""
    name: str | None
    """What to call their source; for a folder its own name, without the path."""
    hub_id: str | None
    """Its id on the Hub, if it is there."""
    revision: str | None
    """The commit on the Hub that was read, if it is known."""
    sha256: str | None
    """Fingerprint of the model, `Classifier.fingerprint`."""
    new_head: bool
    """Whether the classification head is new."""


class InEffect(TypedDict, total=False):
    """What a training really used, computed from the run and not from its settings.

    After a resume it is that of the last process; `Summary.in_effect_before` has the others.
    """

    precision: str
    """32-true, 16-mixed or bf16-mixed, as Fabric ran it. On a CPU, 16-mixed runs as bf16-mixed."""
    matmul_precision: str
    """torch's precision of products of float32 matrices: highest, high or medium."""
    device: str
    """cpu, cuda or mps."""
    device_name: str | None
    num_devices: Count
    """Over all machines."""
    num_machines: Count
    batch_size: Count
    """Patches per step, over all devices; less than asked if there are fewer in the split."""
    accumulate: Count
    """Parts in which each device processes its patches of a step."""
    patches_at_once: Count
    """Patches that go through the network together, on one device."""
    batch_norm_patches: Count | None
    """Patches over which batch norms average; None if no batch norm learns."""
    drop_rate: Finite
    """Highest rate of dropout that is on; 0 if none is, as in a frozen backbone."""
    drop_path_rate: Finite
    """Highest rate of stochastic depth that is on."""
    initial_weights: InitialWeights
    torch: str
    timm: str


class Summary(TypedDict, total=False):
    """The content of ``summary.json``; epochs count from 1."""

    status: str
    """running, finished, interrupted or failed."""
    best_epoch: Count | None
    best_validation_macro_average_precision: Finite | None
    best_weights_sha256: str
    """Digest of the weights in ``best/``, by name and value."""
    epochs_run: Count
    stopped_early: bool
    steps: Count
    total_steps: Count
    warmup_steps: Count
    seconds: Finite
    num_train: Count
    num_validation: Count
    filters: dict[str, str]
    data: _Data
    absent_labels: dict[str, list[str]]
    """Split -> labels that no patch of it has: a model cannot learn, or be measured on, them."""
    not_applied: list[str]
    new_head: bool
    statistics_source: str
    """Where mean and deviation of the bands come from."""
    precision: str
    channels_last: bool
    in_effect: InEffect
    in_effect_before: list[InEffect]
    """What earlier processes of the run used, if it was something else."""

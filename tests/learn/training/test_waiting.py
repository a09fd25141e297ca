"""No step waits for the device: ``meta``, which holds no values, stands in for a GPU.

A value that is looked at, a copy that blocks or comes from unpinned memory, and an index that the
device has to count raise here, where on a GPU they would only be slow.
"""

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from reben.learn.predict import predict_dataset
from reben.learn.training import hardware
from reben.learn.training.data_module import training_loaders
from reben.learn.training.loop import Loop
from reben.learn.training.losses import presence_weights
from reben.learn.training.pauses import READ_EVERY, LossSum, Pauses
from reben.learn.training.record import RunRecorder
from reben.learn.training.state import Training
from reben.model.classifier import Classifier

META = torch.device("meta")


class WaitError(Exception):
    """Something that makes the host wait for the device."""


class NoWaiting(TorchDispatchMode):
    """Copies as a GPU would; refuses what blocks. Values from the device are ones."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        places = [value.device.type for value in args if isinstance(value, torch.Tensor)]
        if name in {"_to_copy", "to"}:  # the second one where inference mode is on
            target = torch.device(kwargs.get("device") or args[0].device).type
            if places[0] != target:
                self.require_free(args[0], function, blocks=not kwargs.get("non_blocking"))
            if target == "cpu" and places[0] == "meta":
                return torch.ones(args[0].shape, dtype=args[0].dtype)
        if name == "copy_" and len(set(places)) > 1:
            self.require_free(args[1], function, blocks=not (args[2:] and args[2]))
        if name in {"index", "index_put", "index_put_"} and places[0] == "meta":
            chosen = [index for index in args[1] if index is not None]
            if any(index.device.type == "cpu" or index.dtype == torch.bool for index in chosen):
                raise WaitError(str(function))
        if name == "_local_scalar_dense" and places == ["meta"]:
            raise WaitError(str(function))
        return function(*args, **kwargs)

    def require_free(self, source, function, *, blocks):
        if blocks or (source.device.type == "cpu" and not getattr(source, "was_pinned", False)):
            raise WaitError(str(function))


class NoLists(TorchFunctionMode):
    """Refuses tensors that Python's numbers are copied into on the device: that copy blocks."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        on = (kwargs or {}).get("device")
        made = function in {torch.tensor, torch.as_tensor} and on is not None
        if made and torch.device(on).type == "meta" and not isinstance(args[0], torch.Tensor):
            raise WaitError("torch.tensor of numbers on the device")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def gpu(monkeypatch):
    """``meta`` is a device that works on by itself; yields when each copy to the host was awaited.

    Each is a pair: how many steps were begun before it was sent, and before it was waited for.
    """
    steps, awaited = [0], []

    class Event:
        def record(self, _stream):
            self.sent = steps[0]

        def synchronize(self):
            awaited.append((self.sent, steps[0]))

    def pin(tensor):
        pinned = tensor.clone()
        pinned.was_pinned = True
        return pinned

    real = Loop._take_step

    def counted(self, batch):
        steps[0] += 1
        return real(self, batch)

    monkeypatch.setattr(Loop, "_take_step", counted)
    monkeypatch.setattr("reben.learn.training.loop.READ_EVERY", 2)
    monkeypatch.setattr(hardware, "ASYNCHRONOUS", ("cuda", "meta"))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    return awaited


def make(dataset, config, folder):
    """A loop on the device, as `reben.train` makes it."""
    torch.manual_seed(0)
    classifier = Classifier(config.backbone, config.bands)
    loaders = training_loaders(dataset, classifier, config, device=META, raw=True)
    training = Training(
        classifier,
        config,
        total_steps=len(loaders[0]),
        warmup_steps=1,
        class_weights=presence_weights(dataset["train"].table.multi_hot(classifier.labels)),
        channels_last=True,
    )
    fabric = Fabric(accelerator="cpu", precision=hardware.choose_precision(config))
    fabric.strategy._root_device = META
    fabric.strategy.accelerator.setup_device = lambda _device: None
    training.place(fabric)
    recorder = RunRecorder(folder, config, {}, progress=lambda progress: f"{progress.loss:.3f}")
    return Loop(training, loaders, recorder, Pauses(60, META, print), {})


SETTINGS = {
    "plain": {},
    "everything": {
        "batch_size": 2, "accumulate": 2, "gradient_clip": 1.0, "ema_decay": 0.9,
        "turns": True, "flips": True, "band_dropout": 0.3,
        "precision": "bf16-mixed", "label_smoothing": 0.1,
    },
    "focal": {"loss": "focal", "layer_decay": 0.8},
    "asymmetric": {"loss": "asymmetric", "freeze_backbone": True},
}  # fmt: skip


def run(dataset, tiny, folder, **changes):
    """Train on the device for an epoch; return the loop."""
    words = {"backbone": "test_resnet", "batch_size": 1, "num_workers": 0, "bands": "s2"}
    loop = make(dataset, tiny(**{**words, **changes}), folder)
    with NoWaiting(), NoLists():
        loop.train_epoch()
    return loop


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_no_step_waits_for_the_device(dataset, tiny, tmp_path, gpu, changes):
    """Losses are read two steps after they were sent; the last ones where the epoch ends."""
    loop = run(dataset, tiny, tmp_path, **changes)
    assert loop.training.step == len(loop.train_loader)
    assert loop.losses.num_patches == 7
    assert gpu == [(2, 4), (4, 4)] if "accumulate" in changes else [(2, 4), (4, 6), (6, 7), (7, 7)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda images: images.mean().item(),
        lambda images: float(images.sum()),
        lambda images: bool((images > 0).any()),
        lambda images: images[images > 0],
        lambda images: images.nonzero(),
        lambda images: images.cpu(),
        lambda images: images[torch.tensor([0])],
        lambda images: images * torch.tensor([2.0], device=images.device),
        lambda images: images * torch.ones(1).to(images.device, non_blocking=True),
        lambda images: torch.ones(images.shape).copy_(images),
    ],
    ids=["item", "float", "bool", "mask", "nonzero", "cpu", "index", "list", "unpinned", "copy_"],
)
def test_a_step_that_waits_would_be_seen(dataset, tiny, tmp_path, gpu, monkeypatch, spoil):
    """Each of the ways in which a change could make a step wait fails the test above."""
    real = Loop._take_step

    def spoilt(self, batch):
        spoil(batch.images)
        return real(self, batch)

    monkeypatch.setattr(Loop, "_take_step", spoilt)
    with pytest.raises((WaitError, NotImplementedError)):
        run(dataset, tiny, tmp_path)


@pytest.mark.parametrize("every", [1, 3, 10])
def test_all_losses_are_read_once_and_in_order(every):
    kept, told = LossSum(AssertionError, every), []
    for step in range(25):
        told += kept.add(torch.tensor(float(step)), 2, step, ["a", "b"])
    told += kept.read()
    assert [(one.step, one.loss) for one in told] == [(step, step / 2) for step in range(25)]
    assert (kept.total, kept.num_patches, kept.last) == (300.0, 50, 12.0)
    assert kept.read() == []


def test_a_loss_that_is_not_finite_is_refused_with_its_own_step():
    kept = LossSum(lambda loss, step, names: ValueError(f"{loss} {step} {names}"), READ_EVERY)
    for step in range(2 * READ_EVERY - 1):
        assert kept.add(torch.tensor(np.nan if step == 4 else 1.0), 1, step, [f"p{step}"]) == []
    with pytest.raises(ValueError, match=r"nan 4 \['p4'\]"):
        kept.add(torch.tensor(1.0), 1, 2 * READ_EVERY, ["last"])


def test_evaluation_begins_a_batch_before_it_waits_for_the_last_one(dataset, gpu, monkeypatch):
    """Values from the device are ones, so every score is 1; what counts is when they are read."""
    begun, waited = [0], []
    model = Classifier("test_resnet", "s2").to(META).eval()
    forward = model.forward

    def counted(images):
        begun[0] += 1
        return forward(images)

    class Event:
        def record(self, _stream):
            self.number = begun[0]

        def synchronize(self):
            waited.append((self.number, begun[0]))

    monkeypatch.setattr(model, "forward", counted)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    with NoWaiting(), NoLists():
        found = predict_dataset(model, dataset["train"], batch_size=2, optimise=False)
    assert waited == [(1, 2), (2, 3), (3, 4), (4, 4)]
    assert found.scores.shape == (7, 19)
    assert found.scores.min() == 1

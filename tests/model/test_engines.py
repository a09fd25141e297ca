"""Engines other than torch: the same logits, and the choice among them."""

import json
import logging
import sys

import pytest
import torch

from made_up import patch
from reben.errors import ConfigError, MissingExtraError
from reben.model import inference
from reben.model.classifier import Classifier
from reben.model.engines import choice, runtimes
from reben.model.engines.choice import CACHE_FILE, Measured, Timing, quickest, time_by_turns
from reben.model.inference import TOLERANCE, optimise_for_inference

RUNTIMES = ("onnx", "openvino")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REBEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model():
    """Two bands of different ramps tell whether channels are swapped."""
    torch.manual_seed(3)
    made = Classifier("test_resnet", "s1").eval()
    torch.nn.init.normal_(made.model.vision_encoder.get_classifier().weight, 0, 0.1)
    return made


@pytest.fixture(scope="module")
def export():
    return runtimes.as_onnx


@pytest.fixture(scope="module")
def graph(model, export):
    return export(model.model, torch.randn(2, 2, 120, 120))


@pytest.fixture(autouse=True)
def one_export(graph, monkeypatch):
    """Writing a network as ONNX takes seconds, and most tests are about the same one."""
    monkeypatch.setattr(runtimes, "as_onnx", lambda *_: graph)


def plain_logits(model, images_BCHW):
    with torch.no_grad():
        return model(images_BCHW)


@pytest.mark.parametrize(
    ("backbone", "bands"),
    [
        ("test_convnext", "all"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in [("test_vit3", "s2"), ("test_efficientnet", "s2"), ("resnet18", "rgb")]
        ),
    ],
)
def test_logits_are_those_of_the_plain_model_for_batches_of_any_size(
    backbone, bands, export, monkeypatch
):
    torch.manual_seed(3)
    model = Classifier(backbone, bands).eval()
    torch.nn.init.normal_(model.model.vision_encoder.get_classifier().weight, 0, 0.1)
    written = export(model.model, torch.randn(2, len(model.bands), 120, 120))
    monkeypatch.setattr(runtimes, "as_onnx", lambda *_: written)  # once for both engines
    for engine in RUNTIMES:
        fast = optimise_for_inference(model, engine=engine)
        assert fast.engine == engine
        assert fast.max_difference <= TOLERANCE
        for size in (1, 5, 33):
            images_BCHW = torch.randn(size, len(model.bands), 120, 120)
            wanted_BK = plain_logits(model, images_BCHW)
            assert wanted_BK.std() > 100 * TOLERANCE
            assert (fast(images_BCHW) - wanted_BK).abs().max() <= TOLERANCE


def test_eager_is_the_plain_network_to_the_bit(model):
    eager, images_BCHW = optimise_for_inference(model, engine="eager"), torch.randn(40, 2, 120, 120)
    assert (eager.engine, eager.max_difference, eager.optimisations) == ("eager", 0, ())
    assert torch.equal(eager(images_BCHW), plain_logits(model, images_BCHW))


@pytest.mark.parametrize("engine", RUNTIMES)
def test_keys_in_any_order_give_the_scores_of_the_plain_model(model, engine):
    fast, bands = optimise_for_inference(model, engine=engine), patch()
    turned = {name: bands[name] for name in reversed(bands)}
    assert fast.predict(turned).values == pytest.approx(model.predict(bands).values, abs=1e-5)
    assert fast.labels == model.labels


@pytest.mark.parametrize("engine", RUNTIMES)
def test_the_model_keeps_its_mode_and_embeds_as_before(model, engine):
    other = Classifier("test_resnet", "s1").train()
    other.load_state_dict(model.state_dict())
    fast = optimise_for_inference(other, engine=engine)
    assert other.training
    assert not fast.training
    assert fast.embed(patch()) == pytest.approx(model.embed(patch()), abs=1e-4)


def test_images_that_an_engine_was_not_started_for_go_through_torch(model):
    fast, images_BCHW = optimise_for_inference(model, engine="onnx"), torch.randn(2, 2, 64, 96)
    assert (fast(images_BCHW) - plain_logits(model, images_BCHW)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_uses_as_many_threads_as_torch_does(model, threads, monkeypatch):
    asked, before = [], torch.get_num_threads()
    real = runtimes._start_onnxruntime
    monkeypatch.setattr(
        runtimes, "_start_onnxruntime", lambda graph, num: asked.append(num) or real(graph, num)
    )
    torch.set_num_threads(threads)
    try:
        optimise_for_inference(model, engine="onnx")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert asked == [threads]


def test_openvino_is_kept_to_its_threads_and_to_float32(graph, monkeypatch):
    runtimes.require_installed("openvino")  # which keeps it from telling of its import
    import openvino

    seen = []
    real = openvino.Core.compile_model

    def watch(core, *args):
        seen.append(real(core, *args))
        return seen[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", watch)
    runtimes.start("openvino", graph, 1)
    assert seen[0].get_property("INFERENCE_NUM_THREADS") == 1
    assert seen[0].get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_an_unknown_engine_is_refused(model):
    with pytest.raises(ConfigError, match=r"no engine 'tensorrt'.*auto, eager, optimised"):
        optimise_for_inference(model, engine="tensorrt")


@pytest.mark.parametrize("engine", RUNTIMES)
def test_an_engine_that_is_not_installed_says_how_to_install_it(model, engine, monkeypatch):
    monkeypatch.setitem(sys.modules, runtimes.RUNTIMES[engine], None)
    with pytest.raises(MissingExtraError, match=rf'pip install "reben\[{engine}\]"'):
        optimise_for_inference(model, engine=engine)


def test_an_engine_on_an_accelerator_is_refused_and_auto_is_not():
    model = Classifier("test_resnet", "rgb").to("meta")
    with pytest.raises(ConfigError, match="computes on the CPU, and the model is on meta"):
        inference._checked_engine("onnx", model)
    assert inference._checked_engine("auto", model) == "optimised"


def test_an_engine_that_changes_logits_is_not_used_and_that_is_said_once(
    model, monkeypatch, caplog
):
    monkeypatch.setattr(
        runtimes, "_start_openvino", lambda *_: lambda images: torch.full((len(images), 19), 0.5)
    )
    with caplog.at_level(logging.WARNING, logger="reben.model.inference"):
        fast = optimise_for_inference(model, engine="openvino")
    assert fast.engine == "optimised"
    assert fast.max_difference <= TOLERANCE
    (said,) = caplog.messages
    assert "openvino is not used, since that changes logits" in said


def test_openvino_is_imported_without_the_package_that_tells_of_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    with runtimes._without_telemetry(), pytest.raises(ImportError):
        import openvino_telemetry  # noqa: F401
    assert "openvino_telemetry" not in sys.modules


@pytest.mark.slow
def test_openvino_tells_nobody_that_it_was_imported():
    """In a process of its own, since others here may have imported it."""
    import subprocess

    program = (
        "import sys; from reben.model.engines.runtimes import require_installed;"
        "require_installed('openvino');"
        "assert 'openvino' in sys.modules;"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# The choice --------------------------------------------------------------------------------------

TIMES = {
    "optimised": Timing(0.5, 0.0100),
    "onnx": Timing(6.0, 0.0090),
    "openvino": Timing(7.0, 0.0085),
}


@pytest.mark.parametrize(
    ("num_patches", "wanted"),
    [
        (5_000, "optimised"),  # 50.5 s against 51 and 49.5, which is less than 5 % quicker
        (20_000, "openvino"),  # 200.5 s, 186, 177
        (None, "openvino"),
    ],
)
def test_the_choice_follows_from_times_and_work(num_patches, wanted):
    assert quickest(TIMES, num_patches) == wanted
    assert quickest(dict(reversed(TIMES.items())), num_patches) == wanted


def test_an_engine_that_gains_less_than_measurements_differ_is_not_chosen():
    assert quickest({"optimised": Timing(0, 1.0), "onnx": Timing(0, 0.96)}, None) == "optimised"


def test_calls_take_turns_and_the_shortest_counts():
    now, order = [0.0], []
    takes = {"a": iter([9, 3, 2, 4]), "b": iter([9, 1, 5, 1])}

    def call(name):
        order.append(name)
        now[0] += next(takes[name])

    found = time_by_turns(
        {name: lambda name=name: call(name) for name in takes},
        rounds=3,
        seconds=100,
        clock=lambda: now[0],
    )
    assert found == {"a": 2, "b": 1}
    assert order == ["a", "b"] * 4


def test_timing_ends_when_its_time_is_over():
    now, count = [0.0], [0]

    def call():
        count[0] += 1
        now[0] += 2.0

    time_by_turns({"a": call}, rounds=50, seconds=3, clock=lambda: now[0])
    assert count == [2]


def test_few_patches_are_not_measured_and_import_nothing(model, monkeypatch, own_cache):
    monkeypatch.setattr(choice, "time_by_turns", None)
    assert optimise_for_inference(model, engine="auto", num_patches=1).engine == "optimised"
    assert not own_cache.exists()


def test_short_work_is_not_measured(model, monkeypatch, own_cache):
    monkeypatch.setattr(choice, "time_by_turns", lambda calls, **_: dict.fromkeys(calls, 0.001))
    monkeypatch.setattr(runtimes, "as_onnx", None)
    fast = optimise_for_inference(model, engine="auto", num_patches=100_000, batch_size=1)
    assert fast.engine == "optimised"
    assert not own_cache.exists()


@pytest.fixture
def timed(monkeypatch):
    """Engines of known speed; the list grows by the engines of each measurement."""
    measured = []

    def times(calls, rounds=10):
        if rounds > 1:
            measured.append(list(calls))
        return {name: {"optimised": 3.0, "onnx": 2.0, "openvino": 1.0}[name] for name in calls}

    monkeypatch.setattr(choice, "time_by_turns", times)
    monkeypatch.setattr(inference, "_cpp_compiler", lambda: None)
    return measured


def test_long_work_is_measured_once_and_then_known(model, timed, own_cache):
    fast = [
        optimise_for_inference(model, engine="auto", num_patches=50_000, batch_size=64)
        for _ in range(2)
    ]
    assert [one.engine for one in fast] == ["openvino", "openvino"]
    assert timed == [["optimised", "onnx", "openvino"]]
    ((key, times),) = json.loads((own_cache / CACHE_FILE).read_text()).items()
    assert times["openvino"]["per_patch"] == 1 / 32
    for part in ("test_resnet", "2 channels", "batches of 32", "threads of", "openvino 20"):
        assert part in key


def test_another_batch_size_is_another_case(model, timed):
    for size in (1, 32, 512):
        optimise_for_inference(model, engine="auto", batch_size=size)
    assert len(timed) == 2  # 512 go in parts of 32


def test_engines_that_are_not_installed_are_left_out_of_auto(model, timed, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "openvino", "no-such-package")
    assert optimise_for_inference(model, engine="auto").engine == "onnx"
    assert timed == [["optimised", "onnx"]]


@pytest.mark.parametrize(
    "content", ["", "{", '{"case": {"optimised": {"prepare": "1"}}}', "[1]", "\x00\xff", "{}" * 9]
)
def test_a_damaged_file_is_as_none(tmp_path, content):
    (tmp_path / CACHE_FILE).write_text(content)
    assert Measured(tmp_path).get("case") is None
    Measured(tmp_path).put("case", TIMES)
    assert Measured(tmp_path).get("case") == TIMES


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        measured = Measured(tmp_path / "file" / "below")
        measured.put("case", TIMES)
        assert measured.get("case") is None


def test_the_file_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "_MOST_KEPT", 4)
    for number in range(choice._MOST_KEPT + 3):
        Measured(tmp_path).put(f"case {number}", {"optimised": Timing(1, 1)})
    known = json.loads((tmp_path / CACHE_FILE).read_text())
    assert len(known) == choice._MOST_KEPT
    assert "case 2" not in known

import dataclasses
import json

import pytest
import torch

from reben.errors import ConfigError, RunError
from reben.learn.cost import count_cost
from reben.learn.speed import Speed, benchmark
from reben.model.classifier import Classifier
from reben.model.config import ModelConfig
from reben.spec.bands import S1, BandSet


@pytest.fixture(scope="module")
def speed():
    model = Classifier("test_resnet", "rgb")
    return benchmark(model, batch_sizes=(1, 3), precisions=("32", "bf16"), rounds=2)


def test_there_is_a_row_for_each_way_batch_size_and_precision(speed):
    rows = {(row.way, row.precision, row.batch_size) for row in speed.measurements}
    ways = ("eager", "optimised")
    assert rows == {(way, kind, size) for way in ways for kind in ("32", "bf16") for size in (1, 3)}
    assert len(speed.measurements) == 8


def test_rates_and_latencies_belong_together(speed):
    for row in speed.measurements:
        assert row.images_per_second >= row.median_images_per_second > 0
        assert row.latency_p95_ms >= row.latency_ms > 0
        assert row.median_images_per_second * row.latency_ms / 1e3 == pytest.approx(row.batch_size)


def test_differences_are_to_plain_float32(speed):
    rows = {(r.way, r.precision, r.batch_size): r.max_difference for r in speed.measurements}
    assert rows["eager", "32", 3] == 0
    assert 0 <= rows["optimised", "32", 3] < 1e-4
    assert rows["eager", "bf16", 3] > rows["optimised", "32", 3]


def test_the_best_row_is_one_in_float32(speed):
    assert speed.best.precision == "32"
    exact = [row for row in speed.measurements if row.precision == "32"]
    assert speed.best.images_per_second == max(row.images_per_second for row in exact)


def test_parameters_are_counted_as_torch_counts_them(speed):
    model = Classifier("test_resnet", "rgb")
    assert speed.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_operations_of_one_convolution_more_are_those_of_its_formula():
    def first_layer(bands):
        return count_cost(ModelConfig("test_resnet", bands)).gflops

    # The first convolution makes 60 x 60 pixels of w channels with 3 x 3 weights for each band.
    three, two = first_layer(BandSet(("B04", "B03", "B02"))), first_layer(S1)
    width = Classifier("test_resnet", "rgb").model.vision_encoder.conv1[0].out_channels
    assert three - two == pytest.approx(2 * 60 * 60 * width * 3 * 3 / 1e9)


def test_measurements_survive_their_file(speed, tmp_path):
    assert Speed.load(speed.save(tmp_path / "new" / "speed.json")) == speed


@pytest.mark.parametrize(
    ("field", "value"),
    [("gflops", "1e999"), ("parameters", "-1"), ("bands", "3"), ("measurements", "[]")],
)
def test_a_damaged_file_is_an_error_with_file_field_and_cure(speed, tmp_path, field, value):
    text = json.dumps({**speed.to_dict(), field: "HERE"}).replace('"HERE"', value)
    (tmp_path / "speed.json").write_text(text)
    with pytest.raises(RunError, match=rf"speed\.json .*{field[:-1]}.* reben benchmark"):
        Speed.load(tmp_path / "speed.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 3}'])
def test_a_file_without_measurements_is_an_error_that_names_it(text, tmp_path):
    (tmp_path / "speed.json").write_text(text)
    with pytest.raises(RunError, match=r"speed\.json.*reben benchmark"):
        Speed.load(tmp_path / "speed.json")


def test_progress_counts_to_the_end():
    seen = []
    model = Classifier("test_resnet", "rgb")
    benchmark(model, batch_sizes=(1, 2), rounds=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    "settings",
    [{"batch_sizes": (0,)}, {"batch_sizes": ()}, {"precisions": ("16",)}, {"rounds": 0}],
)
def test_a_setting_that_cannot_be_is_an_error(settings):
    with pytest.raises(ConfigError):
        benchmark(Classifier("test_resnet", "rgb"), **settings)


def test_the_model_is_left_as_it_was():
    model = Classifier("test_resnet", "rgb").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    benchmark(model, batch_sizes=(2,), rounds=1)
    assert model.training
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_json_holds_no_nan(speed):
    json.dumps(speed.to_dict(), allow_nan=False)
    assert dataclasses.asdict(speed.best).keys() == speed.to_dict()["measurements"][0].keys()


def test_engines_are_measured_beside_the_others():
    speed = benchmark(
        Classifier("test_resnet", "s1"), batch_sizes=(2,), rounds=1, engines=("onnx",)
    )
    assert [row.way for row in speed.measurements] == ["eager", "optimised", "onnx"]
    assert all(row.max_difference < 1e-4 for row in speed.measurements)


def test_the_cost_of_a_network_with_a_learned_query_is_counted():
    assert count_cost(ModelConfig("test_vit3", S1)).gflops > 0

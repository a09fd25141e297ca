import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.metrics import average_precision_score

from made_up import write_store
from reben.app.cli import run
from reben.data.loader import RawLoader
from reben.model.classifier import Classifier

BANDS = "B08,VV,B11"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = Classifier("test_resnet", BANDS)
    return model.save_pretrained(tmp_path_factory.mktemp("model"))


def test_int8_states_its_average_precision_beside_that_of_the_model(
    folder, dataset, tmp_path, capsys
):
    out, store = tmp_path / "model.int8.onnx", str(dataset.store.path)
    words = ["--int8", "--data", store, "--out", str(out), "--calibration-patches", "4"]
    assert run(["export", str(folder), *words]) == 0
    cost = json.loads((tmp_path / "model.int8.json").read_text())
    proto = onnx.load(out)
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(about["int8"]) == cost
    assert json.loads(about["bands"]) == BANDS.split(",")
    assert (cost["num_calibration"], cost["num_validation"]) == (4, 5)
    assert {"QuantizeLinear", "DequantizeLinear"} < {node.op_type for node in proto.graph.node}

    model = Classifier.from_pretrained(folder)
    patches = dataset.with_bands(model.bands)["validation"]
    (batch,) = RawLoader(patches, 5)
    bands = {name: band.numpy().astype(np.float32) for name, band in batch.bands.items()}
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    found = [model.predict(bands).values, session.run(["scores"], bands)[0]]
    labels = batch.multi_hot.numpy()
    for number, scores in enumerate(found):
        each = [
            average_precision_score(labels[:, k], scores[:, k]) if labels[:, k].any() else 0
            for k in range(labels.shape[1])
        ]
        assert cost["macro"][number] == pytest.approx(np.mean(each), abs=1e-6)
        micro = average_precision_score(labels.ravel(), scores.ravel())
        assert cost["micro"][number] == pytest.approx(micro, abs=1e-6)
    assert f"micro {cost['micro'][0]:.4f} -> {cost['micro'][1]:.4f}" in capsys.readouterr().err


def test_int8_without_what_it_needs_writes_nothing(folder, tmp_path, capsys):
    store = tmp_path / "store"
    write_store(store, num_train=2, num_validation=0, num_test=1)
    for words, told in (
        (["--int8"], "--int8 --data"),
        (["--data", str(store)], "--int8 --data"),
        (["--int8", "--data", str(store), "--sentinel2-dtype", "uint16"], "float32"),
        (["--int8", "--data", str(store)], "validation"),
    ):
        assert run(["export", str(folder), "--out", str(tmp_path / "out.onnx"), *words]) == 2
        assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))

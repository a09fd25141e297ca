"""The verb import, from the command line."""

import torch

from reben.app.cli import run
from reben.model.classifier import Classifier
from reben.model.open import open_model


def test_a_checkpoint_becomes_a_model_folder_that_predict_takes(tmp_path, capsys, real_store):
    torch.manual_seed(1)
    path = tmp_path / "test_resnet-42-2-val_mAP_macro-0.50.ckpt"
    torch.save({"state_dict": Classifier("test_resnet", "s1").state_dict()}, path)
    assert run(["predict", str(path), str(real_store)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    command = said[said.index("reben import") :].partition(" (")[0].split()[1:]
    assert run(command) == 0
    assert "VV, VH; 19 labels in alphabetical order" in capsys.readouterr().err
    folder = path.with_suffix("")
    assert open_model(folder).bands.names == ("VV", "VH")
    assert run(["predict", str(folder), str(real_store), "--out", str(tmp_path / "a.csv")]) == 0
    assert run(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_checkpoint_of_a_run_leads_to_the_run(tmp_path, capsys):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "summary.json").write_text("{}")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(b"")
    for verb in (["predict", str(checkpoint), "x"], ["import", str(checkpoint), "--out", "y"]):
        assert run(verb) == 2
        assert f"Name the run folder: {tmp_path / 'run'}" in " ".join(
            capsys.readouterr().err.split()
        )

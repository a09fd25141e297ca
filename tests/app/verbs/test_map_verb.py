"""One command makes the map of what scripts/made_up_country.py makes."""

import json
import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rasterio
import torch

from reben.app.cli import run
from reben.model.classifier import Classifier
from reben.spec.bands import RGB

SCRIPT = Path(__file__).parents[3] / "scripts" / "made_up_country.py"


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("country")
    Classifier("test_resnet", "rgb", labels=("Pastures", "B")).save_pretrained(folder / "model")
    made = runpy.run_path(str(SCRIPT))
    for number, day in enumerate(made["DAYS"][:2]):
        for tile in list(made["TILES"])[:: number + 1]:  # on the second day one of each zone
            made["write_product"](folder / "products", tile, day, number, bands=RGB.names)
    return folder


def test_one_command_makes_a_file_for_each_zone_of_tiles_and_days(folder, tmp_path, capsys):
    products = [str(path) for path in sorted((folder / "products").iterdir())]
    outputs = [tmp_path / name for name in ("map.tif", "windows.parquet", "map.png")]
    flags = ["--out", outputs[0], "--table", outputs[1], "--quicklook", outputs[2]]
    flags += ["--boa-offset", "-1000", "--composite", "scores"]

    assert run(["predict-map", str(folder / "model"), *products, *map(str, flags)]) == 0

    told = capsys.readouterr()
    named = [path.with_name(f"{path.stem}_{zone}{path.suffix}")
             for zone in (32632, 32633) for path in outputs]  # fmt: skip
    assert [line for line in told.out.splitlines() if line.startswith("/")] == list(map(str, named))
    assert all(path.exists() for path in named)
    assert "in 2 zones, and the map is one file for each" in told.err
    for zone in (32632, 32633):
        with rasterio.open(tmp_path / f"map_{zone}.tif") as file:
            tags = file.tags()
            assert file.crs.to_epsg() == zone
        assert tags["days"] == "2023-06-07; 2023-06-22"
        assert tags["composite"] == "scores"
        assert tags["products"].count("T32UQU") == (2 if zone == 32632 else 0)
        rows = pq.read_table(tmp_path / f"windows_{zone}.parquet").to_pylist()
        assert len(rows) > 20
        assert all(0.75 <= row["clear_looks"] <= 2 for row in rows)


def test_an_area_and_flags_reach_the_map(folder, tmp_path, capsys):
    products = [str(path) for path in sorted((folder / "products").glob("*T33UTP*"))]
    flags = ["--boa-offset", "-1000", "--bbox", "12.03,47.98,12.05,48.0", "--what", "classes"]
    out = tmp_path / "map.tif"

    assert run(["predict-map", str(folder / "model"), *products, "--out", str(out), *flags,
                "--json"]) == 0  # fmt: skip

    (told,) = json.loads(capsys.readouterr().out)
    assert told["out"] == str(out)
    assert 2 <= told["num_windows"] <= 9
    assert told["about"]["area_bounds"] == "12.03,47.98,12.05,48"
    with rasterio.open(out) as file:
        assert file.dtypes == ("uint8",)

    assert run(["predict-map", str(folder / "model"), *products, "--out", str(out), *flags,
                "--max-cloud", "20", "--overwrite"]) == 2  # fmt: skip
    assert "would choose among STAC items" in capsys.readouterr().err

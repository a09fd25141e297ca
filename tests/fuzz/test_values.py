"""JSON, TOML, XML and names that were tampered with: values of the right kinds, or a RebenError."""

import json
import zipfile
from contextlib import suppress
from dataclasses import asdict
from functools import partial

import numpy as np
import torch

import made_up
from fuzzing import NUM_CASES, SEED, damage, distort, randoms, try_cases
from reben.app.demo.uploads import take_upload
from reben.data.archives.stream import archive_names
from reben.data.identity import read_description
from reben.data.storage.record import RECORD_FILE, SourceRecord, StoreRecord
from reben.errors import CardError, PatchNameError
from reben.learn.config import TrainConfig
from reben.learn.resume import open_unfinished
from reben.model.classifier import Classifier
from reben.model.published import read_config
from reben.model.weights import load_weights, open_weights, require_fit
from reben.publish.branding import Branding
from reben.publish.pages import parse_head, pictures, prose
from reben.scene.readers.stac import open_item, read_stac
from reben.scene.search import only_item
from reben.spec.band_names import RASTER_ENDINGS, match_band_file
from reben.spec.patches import Sentinel1Patch, Sentinel2Patch
from scene.made_up_product import make_safe, write_tiff

ITEM = {
    "type": "Feature",
    "id": "S2A_T33UUP_20180601_0_L2A",
    "properties": {
        "datetime": "2018-06-01T10:00:00Z", "platform": "sentinel-2a", "proj:epsg": 32633,
        "s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True,
        "s2:product_type": "S2MSI2A", "processing:level": "L2A",
    },
    "links": [{"rel": "self", "href": "./x.json"}],
    "assets": {
        name: {
            "href": f"{name}.tif", "type": "image/tiff", "gsd": 10,
            "eo:bands": [{"name": name, "common_name": "blue"}],
            "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
        }
        for name in ("B02", "B03", "B04")
    },
}  # fmt: skip


def distorted(value, count=NUM_CASES):
    """JSON texts of changed values, one in five with changed bytes."""
    for random in randoms(count):
        text = json.dumps(distort(value, random) if random.random() < 0.8 else value)
        yield damage(text.encode(), random) if random.random() < 0.2 else text.encode()


def from_file(read, path):
    def read_content(content):
        path.write_bytes(content)
        read(path)

    return read_content


def test_configs_of_models(tmp_path, golden):
    value = json.loads((golden / "test_resnet-all" / "config.json").read_text())
    read = from_file(
        partial(read_config, name="BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0"),
        tmp_path / "config.json",
    )
    try_cases(read, distorted(value, NUM_CASES))
    own = json.loads(Classifier("test_resnet", "rgb").config.to_json())
    assert try_cases(read, distorted(own, NUM_CASES))


def test_headers_of_weights(tmp_path):
    model = Classifier("test_resnet", "rgb").eval()
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])

    def cases():
        for random in randoms(NUM_CASES):
            if random.random() < 0.5:
                text = json.dumps(distort(header, random)).encode()
                yield len(text).to_bytes(8, "little") + text + content[end:]
            else:
                yield damage(content[:end], random) + content[end:]

    def read(case):
        path.write_bytes(case)
        with torch.device("cpu"), open_weights(tmp_path, "m") as weights:
            require_fit(model, weights, "m")
            load_weights(model, weights, "m")

    try_cases(read, cases())


def test_records_of_stores(tmp_path):
    value = asdict(StoreRecord((SourceRecord("Sentinel-2", "S2", {}, 0, True),), {"s2": 1}, ()))
    read = from_file(lambda path: StoreRecord.read(path.parent), tmp_path / RECORD_FILE)
    assert try_cases(read, distorted(json.loads(json.dumps(value))))


def test_stac_items(tmp_path):
    for name in ITEM["assets"]:
        write_tiff(tmp_path / f"{name}.tif", np.full((120, 120), 1500, np.uint16))
    read = from_file(lambda path: read_stac(open_item(only_item(path))), tmp_path / "x.json")
    assert try_cases(read, distorted(ITEM, NUM_CASES))


def test_metadata_of_products(tmp_path):
    from reben.scene.readers.safe import read_safe
    from reben.scene.readers.safe_files import SafeFiles

    made = make_safe(tmp_path)
    path = made.path / "MTD_MSIL2A.xml"
    content = path.read_bytes()
    cases = (damage(content, random) for random in randoms(NUM_CASES))
    assert try_cases(from_file(lambda _: read_safe(SafeFiles.open(made.path)), path), cases)


def test_zips_of_products(tmp_path):
    from reben.scene.readers.safe_files import SafeFiles

    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S2A_X.SAFE/MTD_MSIL2A.xml", "<a>" + "b" * 500 + "</a>")
        archive.writestr("S2A_X.SAFE/b.jp2", bytes(500))
    content = path.read_bytes()

    def read(path):
        files = SafeFiles.open(path)
        files.read("MTD_MSIL2A.xml")

    cases = (damage(content, random) for random in randoms(NUM_CASES))
    assert try_cases(from_file(read, path), cases)


def test_zips_that_are_uploaded(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/x_B02.tif", bytes(500))
        archive.writestr("x/readme.txt", "x" * 99)
    content = path.read_bytes()
    cases = (damage(content, random) for random in randoms(NUM_CASES))
    try_cases(from_file(lambda path: take_upload([path], tmp_path), path), cases)


def test_settings(tmp_path):
    text = TrainConfig(backbone="resnet50", bands="s2").to_toml().encode()

    def cases():
        for random in randoms():
            yield damage(text, random).decode("utf-8", "replace")

    assert try_cases(TrainConfig.from_toml, cases())


def test_settings_of_odd_values():
    value = json.loads(json.dumps(vars(TrainConfig(backbone="resnet50", bands="s2")), default=str))
    cases = (distort(value, random) for random in randoms(NUM_CASES))
    assert try_cases(
        lambda case: TrainConfig.from_values(case if isinstance(case, dict) else {}), cases
    )


def test_runs(tmp_path):
    summary = {
        "status": "finished", "best_epoch": 2, "best_validation_macro_average_precision": 0.37,
        "epochs_run": 40, "stopped_early": False, "steps": 40, "seconds": 5.3, "total_steps": 40,
        "warmup_steps": 4, "num_train": 6, "num_validation": 6, "filters": {"cloud": "false"},
        "data": {"a": 1}, "not_applied": [], "new_head": False, "precision": "32-true",
        "channels_last": True,
    }  # fmt: skip
    (tmp_path / "config.toml").write_text(TrainConfig(backbone="resnet50", bands="s2").to_toml())
    read = from_file(lambda path: open_unfinished(path.parent), tmp_path / "summary.json")
    try_cases(read, distorted(summary))


def test_affiliations(tmp_path):
    value = {"affiliations": [{"name": "A", "url": "https://a.org", "logo": "https://a.org/a.png"}]}
    assert try_cases(from_file(Branding.load, tmp_path / "us.json"), distorted(value))
    text = b'[[affiliations]]\nname = "A"\nurl = "https://a.org"\n'
    cases = (damage(text, random) for random in randoms(NUM_CASES))
    assert try_cases(from_file(Branding.load, tmp_path / "us.toml"), cases)


def test_descriptions_of_data(tmp_path):
    text = made_up.DESCRIPTION.encode()
    cases = (damage(text, random) for random in randoms(NUM_CASES))
    read = from_file(lambda path: read_description([path.parent]), tmp_path / "data.toml")
    assert try_cases(read, cases)


def test_names():
    patch, partner = made_up.patch_id(3), made_up.s1_name(3)
    names = [patch, partner, f"{patch}_B8A.tif", "S2.tar.gzaa"]

    def read(name):
        match_band_file(name)
        match_band_file(name, RASTER_ENDINGS)
        archive_names([name])
        for kind in (Sentinel1Patch, Sentinel2Patch):
            with suppress(PatchNameError):
                kind.parse(name)

    def cases():
        for number, random in enumerate(randoms()):
            text = damage(names[number % len(names)].encode(), random)
            yield text.decode("utf-8", "surrogateescape")

    try_cases(read, cases())


HEAD = "license: mit\ntags: [a, b]\nmodel-index:\n- name: x\n  results: [{task: {type: a}}]\n"
PAGE = (
    "# A\n\n![b](c.png) <img src='d.png'>\n\n<!-- x -->\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    "```py\nx\n```\n"
)


def test_front_matter_and_pages():
    def read(text):
        with suppress(CardError):
            parse_head(text)
        pictures(text)
        prose(text)

    def cases():
        for number, random in enumerate(randoms(NUM_CASES)):
            text = (HEAD, PAGE)[number % 2]
            yield damage(text.encode(), random).decode("utf-8", "replace")

    assert try_cases(read, cases())


def test_the_same_cases_come_every_time():
    assert SEED >= 0
    first, second = (list(distorted(ITEM, 20)) for _ in range(2))
    assert first == second

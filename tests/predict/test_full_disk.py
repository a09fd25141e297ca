"""A full disk: an error with path and cure, the former file as it was, nothing beside it."""

import resource
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from reben.errors import OutputError
from reben.predict.outputs.cog import write_raster
from reben.predict.polygons import rings_of
from reben.predict.table_files import write_table
from reben.predict.tables import Rows, batch_of_scores
from reben.scene.grid import Grid
from reben.spec.patches import Bounds
from reben.support.atomic import atomic_file, atomic_folder, write_bytes

RANDOM = np.random.default_rng(0)


@contextmanager
def full_disk(most_bytes=4096):
    """No file grows beyond a few bytes, which is what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def table(path):
    rows = {"id": [f"patch {number}" for number in range(5000)], "score": RANDOM.random(5000)}
    write_table(path, [pa.record_batch(rows)], {})


def raster(path):
    grid = Grid("EPSG:32633", 300_000, 5_400_000, 6000, 6000)
    scores = RANDOM.random((50, 50, 3)).astype(np.float32)
    write_raster(
        path, scores, grid=grid, stride_metres=1200, labels=list("abc"), dtype="float32", tags={}
    )


def places(path):
    ids = [f"patch {number}" for number in range(500)]
    squares = rings_of([Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600)] * 500)
    scores = RANDOM.random((500, 2)).astype(np.float32)
    write_table(path, [batch_of_scores(Rows(ids, scores, squares), ("a", "b"), (0.5, 0.5))], {})


def picture(path):
    figure = Figure()
    figure.add_subplot().imshow(RANDOM.random((99, 99)))
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


WRITERS = {
    "a.bin": lambda path: write_bytes(path, bytes(10_000)),
    "a.parquet": table,
    "a.csv": table,
    "a.jsonl": table,
    "a.gpkg": places,
    "a.tif": raster,
    "a.png": picture,
}


@pytest.mark.parametrize("name", WRITERS)
def test_it_is_an_error_with_path_and_cure(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"what was there")
    with (
        pytest.raises(OutputError, match=rf"Cannot write .*{name}: .*Free some space"),
        full_disk(),
    ):
        WRITERS[name](path)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_left_half(tmp_path):
    with (
        pytest.raises(OutputError, match="Free some space"),
        full_disk(),
        atomic_folder(tmp_path / "a") as folder,
    ):
        (folder / "file").write_bytes(bytes(10_000))
    assert list(tmp_path.iterdir()) == []

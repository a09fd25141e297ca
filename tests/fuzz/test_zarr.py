import pytest

from fuzzing import damage, randoms
from reben.errors import RebenError
from reben.scene.product import open_scene
from scene.made_up_zarr import make_zarr

pytestmark = pytest.mark.filterwarnings("ignore")  # of zarr and numpy, on what is damaged


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_damaged_stores_are_read_or_refused(tmp_path, zarr_format):
    made = make_zarr(
        tmp_path, zarr_format=zarr_format, bands=("B02",), width=60, height=60, cloudy_columns=0,
        consolidated=False,
    )  # fmt: skip
    files = [path for path in sorted(made.path.rglob("*")) if path.is_file()]
    files = [path for path in files if "r10m" in path.parts or path.parent == made.path]
    num_refused = 0
    for number, random in enumerate(randoms(80)):
        file = files[number % len(files)]
        content = file.read_bytes()
        file.write_bytes(damage(content, random))
        try:
            with open_scene(made.path) as scene:
                scene.read(["B02"], 0, 60)
                scene.read_mask(0, 60)
        except RebenError:
            num_refused += 1
        file.write_bytes(content)
    assert num_refused > 20

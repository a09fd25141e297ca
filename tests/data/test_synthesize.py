import errno
import hashlib
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.data.patch_folders.folder import read_patch_folder
from reben.data.synthesize import synthesize
from reben.data.synthetic.sites import plan_sites
from reben.errors import ConfigError, OutputError
from reben.spec.bands import ALL_FULL, PIXEL_METRES, S2_FULL, native_size
from reben.spec.labels import CORINE_TO_LABEL, LABELS
from reben.spec.patches import SPLITS, Sentinel1Patch, Sentinel2Patch, tile_corner

REAL_COLUMNS = {
    "patch_id": pa.string(),
    "labels": pa.list_(pa.string()),
    "split": pa.string(),
    "country": pa.string(),
    "s1_name": pa.string(),
    "s2v1_name": pa.string(),
    "contains_seasonal_snow": pa.bool_(),
    "contains_cloud_or_shadow": pa.bool_(),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("synthesize") / "tree", num_patches=30, seed=1)


@pytest.fixture(scope="module")
def rows(tree):
    return [row for name in (METADATA_FILE, SNOW_CLOUD_FILE) for row in read_rows(tree / name)]


def read_rows(path):
    return pq.read_table(path).to_pylist()


def folders_of(tree, row):
    sentinel2 = Sentinel2Patch.parse(row["patch_id"])
    sentinel1 = Sentinel1Patch.parse(row["s1_name"])
    return (
        tree / "BigEarthNet-S2" / sentinel2.tile_name / sentinel2.name,
        tree / "BigEarthNet-S1" / sentinel1.scene_name / sentinel1.name,
        tree / "Reference_Maps" / sentinel2.tile_name / sentinel2.name,
    )


def map_of(tree, row):
    return folders_of(tree, row)[2] / f"{row['patch_id']}_reference_map.tif"


def files_of(tree):
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_the_tree_holds_the_files_of_the_real_layout_and_no_others(tree, rows):
    expected = {METADATA_FILE, SNOW_CLOUD_FILE}
    for row in rows:
        optical, radar, land = (path.relative_to(tree) for path in folders_of(tree, row))
        expected |= {str(optical / f"{row['patch_id']}_{name}.tif") for name in S2_FULL}
        expected |= {str(radar / f"{row['s1_name']}_{name}.tif") for name in ("VV", "VH")}
        expected.add(str(land / f"{row['patch_id']}_reference_map.tif"))
    assert set(files_of(tree)) == expected
    assert len(rows) == 30


def test_files_have_the_sizes_of_the_real_ones(tree, rows):
    sizes = {10: 29_196, 20: 7_572, 60: 1_172}
    optical, radar, _ = folders_of(tree, rows[0])
    for name in S2_FULL:
        path = optical / f"{rows[0]['patch_id']}_{name}.tif"
        assert path.stat().st_size == sizes[PIXEL_METRES[name]]
    assert (radar / f"{rows[0]['s1_name']}_VV.tif").stat().st_size == 58_024


def test_the_same_seed_gives_the_same_bytes(tree, tmp_path):
    assert files_of(synthesize(tmp_path / "a", num_patches=30, seed=1)) == files_of(tree)


def test_another_seed_gives_other_pixels(tmp_path):
    trees = [synthesize(tmp_path / str(seed), num_patches=6, seed=seed) for seed in (0, 1)]
    ours, theirs = (
        {digest for name, digest in files_of(tree).items() if name.endswith(".tif")}
        for tree in trees
    )
    assert len(ours) == 6 * 15
    assert not ours & theirs


def test_labels_follow_from_the_maps_by_the_rule_of_the_data_set(tree, rows):
    for row in rows:
        with rasterio.open(map_of(tree, row)) as image:
            codes = image.read(1)
        labels = {
            CORINE_TO_LABEL[code] for code in codes.ravel().tolist() if code in CORINE_TO_LABEL
        }
        assert row["labels"] == sorted(labels)
        assert np.isin(codes, list(CORINE_TO_LABEL)).mean() >= 0.75


def test_maps_are_georeferenced_and_compressed_as_the_real_ones(tree, rows):
    with rasterio.open(map_of(tree, rows[0])) as image:
        assert image.dtypes == ("uint16",)
        assert image.nodata == 0
        assert image.compression == rasterio.enums.Compression.deflate
        assert image.shape == (120, 120)


def test_every_file_lies_at_its_patch_on_the_ground(tree, rows):
    for row in rows[::5]:
        patch = Sentinel2Patch.parse(row["patch_id"])
        _, left, top = tile_corner(patch.tile)
        west, north = left + 1200 * patch.column, top - 1200 * patch.row
        for path in (path for folder in folders_of(tree, row) for path in folder.iterdir()):
            with rasterio.open(path) as image:
                metres = 1200 // image.width
                assert image.transform == Affine(metres, 0, west, 0, -metres, north)
                assert image.crs.to_epsg() == 32600 + int(patch.tile[:2])


def test_rasterio_reads_the_same_bands(tree, rows):
    optical, radar, _ = folders_of(tree, rows[3])
    bands = read_patch_folder(optical, radar)
    assert set(bands) == set(ALL_FULL)
    for name, pixels in bands.items():
        folder = radar if name in {"VV", "VH"} else optical
        with rasterio.open(folder / f"{folder.name}_{name}.tif") as image:
            np.testing.assert_array_equal(image.read(1), pixels)
            assert image.shape == (native_size(name),) * 2
            assert image.nodata == (None if folder == radar else 0)


def test_both_tables_have_the_columns_and_types_of_the_real_ones(tree):
    for name in (METADATA_FILE, SNOW_CLOUD_FILE):
        schema = pq.read_schema(tree / name)
        assert {field.name: field.type for field in schema} == REAL_COLUMNS
    assert len(PatchTable.read(tree / METADATA_FILE, tree / SNOW_CLOUD_FILE)) == 30


def test_only_the_second_table_holds_snow_and_cloud(tree):
    covered = [
        [
            row["contains_seasonal_snow"] or row["contains_cloud_or_shadow"]
            for row in read_rows(path)
        ]
        for path in (tree / METADATA_FILE, tree / SNOW_CLOUD_FILE)
    ]
    assert not any(covered[0])
    assert all(covered[1])
    assert len(covered[1]) / 30 == pytest.approx(0.126, abs=0.04)


def test_names_are_padded_as_the_real_ones(tree, rows):
    small = [row for row in rows if int(row["s1_name"].split("_")[-1]) < 10]
    assert small
    for row in small:
        number = row["s1_name"].split("_")[-1]
        assert row["patch_id"].endswith(f"_0{number}")
        assert row["s2v1_name"].endswith(f"_{number}")
        assert not row["s2v1_name"].endswith(f"_0{number}")
    assert rows[0]["s2v1_name"].startswith(rows[0]["patch_id"][:26])


@pytest.mark.parametrize("num_patches", [6, 8, 12])
def test_even_a_few_patches_have_all_splits_in_the_first_table(tmp_path, num_patches):
    tree = synthesize(tmp_path / "a", num_patches=num_patches)
    assert {row["split"] for row in read_rows(tree / METADATA_FILE)} == set(SPLITS)
    assert pq.read_schema(tree / SNOW_CLOUD_FILE).names == list(REAL_COLUMNS)


def test_progress_counts_up_to_the_end(tmp_path):
    calls = []
    synthesize(tmp_path / "a", num_patches=7, progress=lambda *call: calls.append(call))
    assert calls == [(done, 7) for done in range(1, 8)]


@pytest.mark.parametrize("num_patches", [-1, 0, 5, 10**6])
def test_numbers_that_cannot_be_are_refused(tmp_path, num_patches):
    with pytest.raises(ConfigError, match=f"num_patches must be 6 .*, not {num_patches}"):
        synthesize(tmp_path / "a", num_patches=num_patches)
    assert not (tmp_path / "a").exists()


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="seed must be at least 0, not -3"):
        synthesize(tmp_path / "a", num_patches=6, seed=-3)


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        synthesize(tmp_path, num_patches=6)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupt(done, _total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "a", num_patches=6, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    def fill(_done, _total):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"):
        synthesize(tmp_path / "a", num_patches=6, progress=fill)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("many") / "tree", num_patches=700, seed=0)


def features_of(tree, row):
    bands = read_patch_folder(*folders_of(tree, row)[:2])
    return [figure for name in ALL_FULL for figure in (bands[name].mean(), bands[name].std())]


@pytest.mark.slow
def test_all_labels_occur_some_often_and_some_rarely(many):
    counts = PatchTable.read(many / METADATA_FILE, many / SNOW_CLOUD_FILE).counts("labels")
    assert set(counts) == set(LABELS)
    assert max(counts.values()) > 200
    assert min(counts.values()) < 20


@pytest.mark.slow
def test_band_means_are_near_the_published_ones(many):
    from reben.spec.statistics import published_statistics

    rows = read_rows(many / METADATA_FILE)
    means = np.mean([features_of(many, row) for row in rows], axis=0)[::2]
    for name, mean in zip(ALL_FULL, means, strict=True):
        assert 1 / 1.5 < mean / published_statistics().mean[name] < 1.5


@pytest.mark.slow
def test_a_simple_model_learns_something_and_more_from_both_sensors(many):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = PatchTable.read(many / METADATA_FILE)
    features = np.array([features_of(many, row) for row in read_rows(many / METADATA_FILE)])
    truth, splits = table.multi_hot(), np.array(table.splits)
    train, test = splits != "test", splits == "test"
    common = [k for k in range(19) if min(truth[train, k].sum(), truth[test, k].sum()) >= 5]

    def macro(columns):
        scores = []
        for k in common:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
            model.fit(features[train][:, columns], truth[train, k])
            logits = model.decision_function(features[test][:, columns])
            scores.append(average_precision_score(truth[test, k], logits))
        return np.mean(scores)

    prior = truth[test][:, common].mean()
    radar, optical, both = macro(slice(0, 4)), macro(slice(4, None)), macro(slice(None))
    assert len(common) >= 12
    assert 1.8 * prior < both < 0.95
    assert both > optical > prior
    assert both > radar > prior


def test_the_plan_of_a_tree_is_what_is_written(rows):
    assert {row["patch_id"] for row in rows} == {site.sentinel2.name for site in plan_sites(30, 1)}

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

import made_up
import made_up_files
from multiband_files import write_multiband
from reben.data.patch_folders.tree import FolderWalk, PatchTree
from reben.errors import BandsMismatchError, ConfigError, EncodeError
from reben.spec.bands import ALL, S1, S2, BandSet
from reben.spec.patches import is_sentinel2_name

NUMBERS = (0, 7, 95)


@pytest.fixture
def roots(tmp_path):
    return made_up_files.write_tree(tmp_path, NUMBERS)


@pytest.fixture
def metadata(tmp_path):
    return made_up.write_metadata(tmp_path / "metadata.parquet", [made_up.row(n) for n in NUMBERS])


def names(tree):
    return [place.name for place in tree]


def test_a_tree_gives_its_patches_sorted_by_name(roots):
    assert names(PatchTree((roots["s2"],), S2)) == [made_up.patch_id(n) for n in NUMBERS]
    assert names(PatchTree((roots["s1"],), S1)) == sorted(map(made_up.s1_name, NUMBERS))


def test_the_other_sensor_and_reference_maps_are_no_patches(tmp_path, roots):
    assert names(PatchTree((tmp_path,), S2)) == [made_up.patch_id(n) for n in NUMBERS]
    assert names(PatchTree((roots["reference_maps"], roots["s1"]), S2)) == []


def test_an_empty_folder_with_the_name_of_a_patch_is_one_that_will_be_missed(tmp_path):
    (tmp_path / made_up.patch_id(3)).mkdir()
    assert names(PatchTree((tmp_path,), S2)) == [made_up.patch_id(3)]


def test_the_partner_comes_from_the_metadata_alone(roots, metadata):
    tree = PatchTree((roots["s2"],), ALL, roots["s1"], (metadata,))
    for number, place in zip(NUMBERS, tree, strict=True):
        assert place.problem is None
        assert place.paths[1].endswith(f"/{made_up.s1_name(number)}")


def test_a_patch_without_a_partner_is_a_problem_of_that_patch(roots, metadata, tmp_path):
    rows = [made_up.row(0), made_up.row(95, s1_name=made_up.s1_name(3))]
    metadata = made_up.write_metadata(tmp_path / "m" / "metadata.parquet", rows)
    problems = [place.problem for place in PatchTree((roots["s2"],), ALL, roots["s1"], (metadata,))]
    assert problems[0] is None
    assert "partner is not in the metadata" in str(problems[1])
    assert "partner is missing" in str(problems[2])
    assert made_up.s1_name(3) in str(problems[2])


def test_two_folders_of_two_sensors_are_one_patch_in_either_order(roots):
    optical = next(roots["s2"].glob("*/*"))
    radar = next(roots["s1"].glob("*/*"))
    for inputs in ((optical, radar), (radar, optical)):
        (place,) = PatchTree(inputs, ALL)
        assert (place.name, place.paths) == (optical.name, (str(optical), str(radar)))


def test_folders_and_tiffs_of_ones_own_are_called_by_their_names(tmp_path):
    for folder, file in (("b/field", "x_B02.tif"), ("a/field_2", "y_B04.tif"), ("c", "z.txt")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).touch()
    write_multiband(tmp_path / "c" / "stack.tif", made_up.patch(0, ("B02",)))
    (tmp_path / "c" / ".hidden.tif").touch()
    found = list(PatchTree((tmp_path,), S2))
    assert [place.name for place in found] == ["field_2", "field", "stack"]
    assert [place.is_file for place in found] == [False, False, True]
    assert names(PatchTree((tmp_path / "c" / "stack.tif",), S2)) == ["stack"]


# The walk ----------------------------------------------------------------------------------------


def make_patches(folder, *numbers):
    for number in numbers:
        (folder / made_up.patch_id(number)).mkdir(parents=True)
    return folder


def found_below(*roots):
    walk = FolderWalk(is_sentinel2_name, EncodeError)
    return [
        found.path.removeprefix(f"{root}/")
        for root in roots
        for found in walk.below(root)
        if found.files is None
    ]


def test_patches_are_found_at_any_depth(tmp_path):
    make_patches(tmp_path.joinpath(*(["d"] * 300)), 1)
    assert names(PatchTree((tmp_path,), S2)) == [made_up.patch_id(1)]


def test_a_ring_of_links_ends_and_no_patch_is_found_twice(tmp_path):
    make_patches(tmp_path / "tile", 1, 2)
    (tmp_path / "tile" / "again").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(tmp_path / "tile")
    (tmp_path / "itself").symlink_to("itself")
    assert found_below(tmp_path) == [f"other/{made_up.patch_id(number)}" for number in (1, 2)]


def test_a_link_to_a_folder_above_brings_in_nothing_from_there(tmp_path):
    make_patches(tmp_path / "beside", 7)
    make_patches(tmp_path / "inside" / "tile", 1)
    (tmp_path / "inside" / "tile" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "inside")
    assert found_below(tmp_path / "inside") == [f"tile/{made_up.patch_id(1)}"]
    assert found_below(tmp_path / "elsewhere") == [f"link/tile/{made_up.patch_id(1)}"]


@pytest.mark.parametrize("link", ["a_link", "z_link"])
def test_a_patch_that_two_paths_lead_to_is_one(link, tmp_path):
    make_patches(tmp_path / "real", 1, 2)
    (tmp_path / link).mkdir()
    for number in (1, 2):
        name = made_up.patch_id(number)
        (tmp_path / link / name).symlink_to(tmp_path / "real" / name)
    assert len(found_below(tmp_path)) == 2
    assert len(found_below(tmp_path / link, tmp_path / "real")) == 2
    assert len(found_below(tmp_path / "real", tmp_path / link, tmp_path / "real")) == 2


def test_links_alone_are_patches_too(tmp_path):
    make_patches(tmp_path / "outside", 1, 2, 3)
    (tmp_path / "chosen").mkdir()
    for number in (3, 1):
        name = made_up.patch_id(number)
        (tmp_path / "chosen" / name).symlink_to(tmp_path / "outside" / name)
    assert found_below(tmp_path / "chosen") == [made_up.patch_id(1), made_up.patch_id(3)]


def test_the_order_is_that_of_the_names_whatever_the_file_system_says(tmp_path, monkeypatch):
    for tile in ("b", "a"):
        make_patches(tmp_path / tile, *range(ord(tile), ord(tile) + 12))
    expected = found_below(tmp_path)
    listed = os.scandir

    @contextmanager
    def backwards(path):
        with listed(path) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr(os, "scandir", backwards)
    assert found_below(tmp_path) == expected == sorted(expected)


def test_a_patch_folder_may_be_named_from_inside(roots, monkeypatch):
    patch = next(roots["s2"].glob("*/*"))
    monkeypatch.chdir(patch)
    (found,) = FolderWalk(is_sentinel2_name, EncodeError).below(Path())
    assert (found.name, found.path) == (patch.name, str(patch))


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BandsMismatchError, match=f"Cannot list {tmp_path}: Permission denied"):
        list(PatchTree((tmp_path,), S2))


def test_hidden_folders_are_left_out(tmp_path):
    make_patches(tmp_path / ".snapshot", 1)
    assert found_below(tmp_path) == []


def test_partners_of_the_same_name_need_no_table(tmp_path):
    for sensor, name, band in (("S2", "a", "B02"), ("S2", "b", "B02"), ("S1", "b", "VV")):
        folder = tmp_path / sensor / name
        folder.mkdir(parents=True)
        (folder / f"{name}_{band}.tif").write_bytes(b"")
    first, second = PatchTree((tmp_path / "S2",), BandSet(("B02", "VV")), tmp_path / "S1")
    assert "holds no a. Where partners have other names" in str(first.problem)
    assert second.paths == (str(tmp_path / "S2" / "b"), str(tmp_path / "S1" / "b"))


def test_what_cannot_be_is_refused_at_once(roots, metadata, tmp_path):
    with pytest.raises(BandsMismatchError, match="nowhere"):
        PatchTree((tmp_path / "nowhere",), S2)
    with pytest.raises(BandsMismatchError, match=r"metadata\.parquet is not a TIFF"):
        PatchTree((roots["s2"], metadata), S2)
    with pytest.raises(ConfigError, match="Name both"):
        list(PatchTree((roots["s2"],), ALL, roots["s1"]))
    with pytest.raises(ConfigError, match="name their folder"):
        PatchTree((roots["s2"],), ALL, None, (metadata,))
    with pytest.raises(ConfigError, match="of one sensor"):
        PatchTree((roots["s2"],), S2, roots["s1"], (metadata,))
    with pytest.raises(ConfigError, match="--s1 DIR --metadata FILE"):
        list(PatchTree((roots["s2"],), ALL))

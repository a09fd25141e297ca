import pytest

import made_up
import made_up_files
from multiband_files import write_multiband
from reben.data.patch_folders.tree import PatchTree
from reben.errors import BandsMismatchError, ConfigError
from reben.spec.bands import ALL, S1, S2

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


def test_what_cannot_be_is_refused_at_once(roots, metadata, tmp_path):
    with pytest.raises(BandsMismatchError, match="nowhere"):
        PatchTree((tmp_path / "nowhere",), S2)
    with pytest.raises(BandsMismatchError, match=r"metadata\.parquet is no TIFF"):
        PatchTree((roots["s2"], metadata), S2)
    with pytest.raises(ConfigError, match="Name both"):
        PatchTree((roots["s2"],), ALL, roots["s1"])
    with pytest.raises(ConfigError, match="of one sensor"):
        PatchTree((roots["s2"],), S2, roots["s1"], (metadata,))
    with pytest.raises(ConfigError, match="--s1 DIR --metadata FILE"):
        list(PatchTree((roots["s2"],), ALL))

"""Uploaded files: what is taken as a patch, and what is refused with which words."""

import io
import stat
import zipfile

import numpy as np
import pytest

import made_up
import made_up_files
from reben.app.demo.limits import UploadLimits
from reben.app.demo.uploads import take_upload
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import TiffError, UploadError
from reben.spec.bands import S2_FULL


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def files():
    """The files of patch 7: name -> content; the map of its labels is among them."""
    found = {}
    for which in ("s2", "s1", "reference_maps"):
        for path, content in made_up_files.files_of(which, 7).items():
            found[path.rpartition("/")[2]] = content
    return found


def put(root, files):
    """Write files as an upload; return their paths."""
    paths = []
    for number, (name, content) in enumerate(files.items()):
        folder = root / str(number)  # as Gradio does, so that names can be the same
        folder.mkdir()
        (folder / name).write_bytes(content)
        paths.append(folder / name)
    return paths


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content) pairs, as bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return written.getvalue()


def refusal(root, files, limits=None, error=UploadError):
    with pytest.raises(error) as caught:
        take_upload(put(root, files), root, limits)
    return str(caught.value)


def in_zip(root, members, **options):
    return refusal(root, {"patch.zip": zipped(members, **options)})


def outside(root):
    """Every file outside the uploads folder, to see that nothing was written."""
    return sorted(path for path in root.parent.rglob("*") if root not in (path, *path.parents))


# What is taken -----------------------------------------------------------------------------------


def test_band_files_of_both_sensors_are_the_raw_bands_of_the_patch(root, files):
    upload = take_upload(put(root, files), root)
    for name in ("VV", "B02", "B8A", "B09"):
        np.testing.assert_array_equal(upload.bands[name], made_up.band(name, 7))
    assert upload.names == {
        "Sentinel-2": made_up.patch_id(7),
        "Sentinel-1": made_up.s1_name(7),
    }
    assert len(upload.bands) == 14
    assert upload.left_out == [f"{made_up.patch_id(7)}_reference_map.tif"]


def test_a_zip_of_a_patch_folder_gives_the_same_as_its_files(root, files):
    apart = take_upload(put(root, files), root)
    members = [(f"some/folder/{name}", content) for name, content in files.items()]
    members += [("README.txt", b"hello"), ("__MACOSX/some/._x_B02.tif", b"attributes")]
    (root / "patch.zip").write_bytes(zipped(members))
    together = take_upload([root / "patch.zip"], root)
    assert list(together.bands) == list(apart.bands)
    for name, pixels in apart.bands.items():
        np.testing.assert_array_equal(together.bands[name], pixels)
    assert "README.txt" in together.left_out


def test_nothing_of_a_zip_is_written_to_disk(root, files):
    (root / "patch.zip").write_bytes(zipped([(f"a/{n}", c) for n, c in files.items()]))
    take_upload([root / "patch.zip"], root)
    assert [path.name for path in root.rglob("*")] == ["patch.zip"]


def test_the_place_comes_from_the_georeferencing_of_the_files(root, files):
    place = take_upload(put(root, files), root).place
    assert (place.epsg, place.top) == (32633, 5_400_000 - 1200 * 7)
    assert place.left == 300_000 + made_up_files.EAST_OF_NAME
    assert (place.right - place.left, place.top - place.bottom) == (1200, 1200)


def test_files_without_georeferencing_are_placed_by_the_name_of_the_patch(root):
    # Tile 33UUP begins at 300,000 m E, 5,400,000 m N; the patch is the eighth of its first column.
    plain = encode_geotiff(made_up.band("B02"), GeoTransform(0, 0, 10, 32633))
    plain = plain.replace(b"\xaf\x87\x03\x00", b"\xae\x87\x03\x00")  # another tag than GeoKeys
    place = take_upload(put(root, {f"{made_up.patch_id(7)}_B02.tif": plain}), root).place
    assert (place.epsg, place.left, place.top) == (32633, 300_000, 5_400_000 - 7 * 1200)


def test_sentinel_1_files_of_another_place_are_doubted(root, files):
    far = dict(files)
    for name in ("VV", "VH"):
        file = f"{made_up.s1_name(7)}_{name}.tif"
        far[file] = encode_geotiff(made_up.band(name), GeoTransform(392_060, 5_391_600, 10, 32633))
    assert take_upload(put(root, files), root).doubt is None
    for path in root.iterdir():
        path.rename(root.parent / path.name)
    assert "lie 92 km apart" in take_upload(put(root, far), root).doubt


def test_plain_names_and_resolutions_in_names_are_understood(root):
    files = {
        "B02.tif": encode_geotiff(made_up.band("B02"), GeoTransform(0, 0, 10, 32633)),
        "b8a_20m.TIFF": encode_geotiff(made_up.band("B8A"), GeoTransform(0, 0, 20, 32633)),
    }
    assert list(take_upload(put(root, files), root).bands) == ["B02", "B8A"]


def test_a_band_of_a_wrong_size_is_taken_and_judged_later(root):
    small = encode_geotiff(made_up.band("B02")[:60, :50], GeoTransform(0, 0, 10, 32633))
    assert take_upload(put(root, {"x_B02.tif": small}), root).bands["B02"].shape == (60, 50)


# Wrong files -------------------------------------------------------------------------------------


def test_a_picture_is_named_as_what_it_is(root):
    said = refusal(root, {"holiday.jpg": b"\xff\xd8\xff\xe0 and so on"})
    assert said.startswith("holiday.jpg is not a TIFF: it is a JPEG picture.")


def test_a_text_under_the_name_of_a_band_is_no_tiff(root):
    said = refusal(root, {"patch_B02.tif": b"Dear reader, this is a letter."})
    assert said.startswith("patch_B02.tif is not a TIFF: it starts with other bytes.")


def test_an_empty_file_is_said_to_be_empty(root):
    assert "it is empty" in refusal(root, {"patch_B02.tif": b""})


def test_a_tiff_that_ends_early_is_damaged(root, files):
    name = f"{made_up.patch_id(7)}_B02.tif"
    assert "damaged" in refusal(root, {name: files[name][:9000]}, error=TiffError)
    for path in root.iterdir():
        path.rename(root.parent / path.name)
    assert "damaged" in refusal(root, {name: files[name][:20]}, error=TiffError)


def test_a_tiff_whose_name_names_no_band_is_asked_to(root, files):
    content = files[f"{made_up.patch_id(7)}_B02.tif"]
    said = refusal(root, {"field.tif": content})
    assert "field.tif does not say which band it is" in said


def test_a_band_that_no_patch_has_is_refused(root, files):
    content = files[f"{made_up.patch_id(7)}_B02.tif"]
    assert "band B10, which no patch has" in refusal(root, {"x_B10.tif": content})


def test_a_band_twice_is_named_with_both_files(root, files):
    content = files[f"{made_up.patch_id(7)}_B02.tif"]
    said = refusal(root, {"p_B02.tif": content, "p_b02.TIF": content})
    assert "Band B02 is there twice: p_B02.tif and p_b02.TIF" in said


def test_files_of_two_patches_are_not_mixed(root, files):
    content = files[f"{made_up.patch_id(7)}_B02.tif"]
    said = refusal(root, {"one_B02.tif": content, "two_B03.tif": content})
    assert "more than one Sentinel-2 patch: one_B02.tif and two_B03.tif" in said


def test_a_tiff_of_several_bands_is_refused(root, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "width": 120, "height": 120, "count": 3, "dtype": "uint16"}
    transform = rasterio.Affine(10, 0, 3e5, 0, -10, 5e6)
    path = tmp_path / "stack.tif"
    with rasterio.open(path, "w", transform=transform, crs="EPSG:32633", **profile) as file:
        file.write(np.zeros((3, 120, 120), np.uint16))
    assert "has 3 bands" in refusal(root, {"x_B02.tif": path.read_bytes()})


def test_nothing_uploaded_is_said(root):
    with pytest.raises(UploadError, match="No file was uploaded"):
        take_upload([], root)


# Limits ------------------------------------------------------------------------------------------


def test_too_many_files_are_refused_before_one_is_read(root):
    with pytest.raises(UploadError, match="31 files were uploaded"):
        take_upload([root / f"{n}_B02.tif" for n in range(31)], root)


def test_a_file_too_large_is_refused(root):
    said = refusal(root, {"x_B02.tif": b"II*\0" + bytes(5000)}, UploadLimits(file_bytes=4000))
    assert "no more than" in said


def test_more_pixels_than_a_patch_could_have_are_refused_before_they_are_read(root):
    # A directory alone, of an image of 10,000 million pixels: reading it would not end well.
    content = bytearray(encode_geotiff(made_up.band("B09"), GeoTransform(0, 0, 60, 32633)))
    for tag in (256, 257):
        at = content.index(tag.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00")
        content[at + 2 : at + 12] = b"\x04\x00\x01\x00\x00\x00" + (100_000).to_bytes(4, "little")
    assert "100000 x 100000 pixels" in refusal(root, {"x_B09.tif": bytes(content)})


def test_a_file_outside_the_uploads_is_never_read(root, tmp_path, files):
    secret = tmp_path / "secret_B02.tif"
    secret.write_bytes(files[f"{made_up.patch_id(7)}_B02.tif"])
    with pytest.raises(UploadError, match="was not uploaded here"):
        take_upload([secret], root)
    link = root / "secret_B02.tif"
    link.symlink_to(secret)
    with pytest.raises(UploadError, match="was not uploaded here"):
        take_upload([link], root)


# Hostile zips ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../up_B02.tif",
        "a/../../up_B02.tif",
        "/etc/up_B02.tif",
        "a\\..\\up_B02.tif",
        "C:/up_B02.tif",
    ],
)
def test_paths_that_lead_out_of_a_zip_refuse_all_of_it(root, path):
    before = outside(root)
    assert "leads out of the folder" in in_zip(root, [("a/x_B03.tif", b"x"), (path, b"x")])
    assert outside(root) == before


def test_a_link_in_a_zip_is_refused(root):
    link = zipfile.ZipInfo("a/x_B02.tif")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "a/x_B02.tif, which is a link" in in_zip(root, [(link, b"/etc/passwd")])


def test_a_zip_bomb_is_refused_by_its_ratio(root):
    assert "zip bomb" in in_zip(root, [("x_B02.tif", bytes(5 << 20))])


def test_a_zip_bomb_of_many_members_is_refused_by_its_total(root):
    noise = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8).tobytes()
    members = [(f"x_{n}.bin", noise) for n in range(5)]
    limits = UploadLimits(total_bytes=12 << 20)
    said = refusal(root, {"patch.zip": zipped(members, zipfile.ZIP_STORED)}, limits)
    assert "unpacks to 15.7 MB" in said


def test_a_member_that_lies_about_its_size_is_not_read_on(root):
    content = bytearray(zipped([("x_B02.tif", bytes(30 << 20))]))
    true_size = (30 << 20).to_bytes(4, "little")
    assert content.count(true_size) == 2  # before the member, and in the directory
    lie = bytes(content).replace(true_size, (100).to_bytes(4, "little"))
    assert "patch.zip" in refusal(root, {"patch.zip": lie})


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_cannot_be_unpacked_in_pieces_is_refused(root, compression):
    said = in_zip(root, [("x_B02.tif", bytes(1000))], compression=compression)
    assert "holds x_B02.tif in a compression that is not taken" in said


def test_damage_anywhere_in_a_zip_is_a_message_and_never_a_traceback(root):
    content = zipped([("x_B02.tif", bytes(300)), ("y/x_B03.tif", b"II*" + bytes(50))])
    path = root / "patch.zip"
    for at in range(len(content)):
        for value in (0, 255, content[at] ^ 0x11):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            with pytest.raises((UploadError, TiffError)):
                take_upload([path], root)


def test_a_zip_in_a_zip_is_refused(root):
    inner = zipped([("x_B02.tif", b"x")])
    assert "holds another zip, inner.tif" in in_zip(root, [("inner.tif", inner)])


def test_too_many_members_are_refused(root):
    members = [(f"{n}_B02.tif", b"x") for n in range(201)]
    assert "has 201 members" in in_zip(root, members)


def test_the_same_path_twice_in_a_zip_is_refused(root):
    with pytest.warns(UserWarning, match="Duplicate"):
        content = zipped([("x_B02.tif", b"x"), ("x_B02.tif", b"y")])
    assert "holds x_B02.tif twice" in refusal(root, {"patch.zip": content})


def test_an_encrypted_zip_is_refused(root):
    content = bytearray(zipped([("x_B02.tif", b"x")]))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    assert "encrypted" in refusal(root, {"patch.zip": bytes(content)})


def test_a_zip_that_is_cut_off_is_damaged(root, files):
    content = zipped(list(files.items()))
    assert "damaged zip" in refusal(root, {"patch.zip": content[:-200]})


def test_a_zip_without_a_band_says_what_it_should_hold(root):
    said = in_zip(root, [("a/notes.txt", b"x")])
    assert "There is no band among these files" in said


def test_one_patch_folder_of_each_sensor_in_two_zips_is_one_patch(root, files):
    parts = {
        "s2.zip": zipped([(f"s2/{n}", c) for n, c in files.items() if n.startswith("S2")]),
        "s1.zip": zipped([(f"s1/{n}", c) for n, c in files.items() if n.startswith("S1")]),
    }
    upload = take_upload(put(root, parts), root)
    assert set(upload.bands) == {"VV", "VH", *S2_FULL}

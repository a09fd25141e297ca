"""Made-up patches as band files: folders and archives in the layout of the data set."""

import gzip
import io
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import rasterio
import zstandard

from made_up import SCENE, TILE, band, patch_id, s1_name
from reben.data.encoding.jobs import FolderJob
from reben.data.storage import writer as value_writer
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.spec.bands import PIXEL_METRES, S1, S2_FULL
from reben.spec.patches import place_of_name

ROOTS = {"s2": "BigEarthNet-S2", "s1": "BigEarthNet-S1", "reference_maps": "Reference_Maps"}
KINDS = {"s2": "Sentinel-2", "s1": "Sentinel-1", "reference_maps": "reference map"}


EAST_OF_NAME = 60


def reference_map(number):
    rows, columns = np.meshgrid(np.arange(120), np.arange(120), indexing="ij")
    codes = np.array([211, 231, 311, 313, 112], np.uint16)
    return codes[(rows // 20 + 2 * (columns // 30) + number) % 5]


def tensors_of(which, number):
    """What the value of a patch holds: tensor -> pixels."""
    if which == "reference_maps":
        return {"Data": reference_map(number)}
    return {name: band(name, number) for name in (S1 if which == "s1" else S2_FULL)}


def name_of(which, number):
    """The name of a value in the store."""
    if which == "s1":
        return s1_name(number)
    return patch_id(number) + ("_reference_map" if which == "reference_maps" else "")


def files_of(which, number):
    """The files of a patch: path below the input's folder -> content."""
    scene = SCENE.rpartition("_")[0]
    patch = s1_name(number) if which == "s1" else patch_id(number)
    folder = f"{scene if which == 's1' else TILE}/{patch}"
    files = {}
    for tensor, pixels in tensors_of(which, number).items():
        bounds = place_of_name(patch)
        # A little east of where names say, so that the two can be told apart.
        place = GeoTransform(
            bounds.left + EAST_OF_NAME, bounds.top, PIXEL_METRES.get(tensor, 10), bounds.epsg
        )
        ending = "reference_map" if tensor == "Data" else tensor
        nodata = None if which == "s1" else 0
        content = encode_geotiff(pixels, place, nodata, deflate=which == "reference_maps")
        files[f"{folder}/{patch}_{ending}.tif"] = content
    return files


def write_tree(folder, numbers, inputs=tuple(ROOTS)):
    """Write the patches ``numbers``; return the keyword arguments for `reben.encode`."""
    for which in inputs:
        for number in numbers:
            for path, content in files_of(which, number).items():
                file = folder / ROOTS[which] / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
    return {which: folder / ROOTS[which] for which in inputs}


def tar_of(members, tar_format=tarfile.GNU_FORMAT, *, folders=True):
    """A tar archive of (path, content) pairs, with entries for their folders or not, as bytes."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tar_format) as archive:
        known = {""}
        for path, content in members:
            folder = path.rpartition("/")[0]
            if folders and folder not in known:
                known.add(folder)
                entry = tarfile.TarInfo(folder)
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def archive_of(which, numbers, **options):
    """The uncompressed archive of an input."""
    members = [
        (f"{ROOTS[which]}/{path}", content)
        for number in numbers
        for path, content in files_of(which, number).items()
    ]
    return tar_of(members, **options)


COMPRESS = {
    ".tar": lambda content: content,
    ".tar.gz": lambda content: gzip.compress(content, 1),
    ".tar.zst": lambda content: zstandard.ZstdCompressor(1).compress(content),
}


def write_archives(folder, numbers, ending, inputs=tuple(ROOTS)):
    """Write an archive for each input; return the keyword arguments for `reben.encode`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {which: folder / f"{ROOTS[which]}{ending}" for which in inputs}
    for which, path in paths.items():
        path.write_bytes(COMPRESS[ending](archive_of(which, numbers)))
    return paths


def write_many(folder, letter, num_values):
    """What a worker process does that writes in many small transactions into a small map."""
    value_writer._MIN_GROWTH = 1 << 20
    with value_writer.ValueWriter(Path(folder)) as writer:
        for number in range(num_values):
            writer.add(f"{letter}{number:04d}", bytes([number % 251]) * 50_000)
            if number % 10 == 9:
                writer.commit()
        writer.commit()


class DeadlyJob(FolderJob):
    """A job whose process is killed when it comes to the patch of number 4."""

    def run(self, writer, *, strict, pipe):
        for step in super().run(writer, strict=strict, pipe=pipe):
            if any(folder.endswith(patch_id(4)) for folder in self.folders):
                os.kill(os.getpid(), signal.SIGKILL)
            yield step


def rasterio_profile(path):
    """What rasterio needs to write a file like this one again."""
    with rasterio.open(path) as image:
        keys = ("driver", "width", "height", "count", "crs", "transform")
        return {key: image.profile[key] for key in keys}

"""Sentinel products of any baseline, hemisphere and weather, small enough for a test.

A made-up product has the layout and the metadata elements of a real one, in as far as anything
reads them; its bands are lossless JPEG 2000 files, each with its own ramp along both axes.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine

PIXEL_METRES = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20,
    "B08": 10, "B8A": 20, "B09": 60, "B11": 20, "B12": 20,
}  # fmt: skip
BANDS = tuple(PIXEL_METRES)
BAND_IDS = {
    **{f"B{number:02}": number - 1 for number in range(1, 9)},
    "B8A": 8, "B09": 9, "B10": 10, "B11": 11, "B12": 12,
}  # fmt: skip
TIME = "20230821T101031"


@dataclass
class Made:
    """A made-up product: where it is and what was put into it."""

    path: Path
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    scl: np.ndarray | None = None

    def image(self, band):
        """The only file of a band at its native size."""
        metres = 20 if band == "SCL" else PIXEL_METRES[band]
        (path,) = self.path.rglob(f"*_{band}_{metres}m.*")
        return path


def numbers(band, width, height, least=1003):
    """Digital numbers of a band [h, w], unlike those of any other, growing down and right."""
    metres = PIXEL_METRES[band]
    rows = np.arange(height * 10 // metres)[:, None]
    columns = np.arange(width * 10 // metres)[None, :]
    values = least + 211 * BANDS.index(band) + 3 * rows + 7 * columns
    return (values % 12_000).astype(np.uint16)


def from_origin(left, top, metres):
    return Affine(metres, 0, left, 0, -metres, top)


def write_jp2(path, pixels, *, metres, epsg=32633, left=300_000, top=5_900_040, block=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without TILED rasterio drops the width of tiles.
    blocks = {"TILED": "YES", "BLOCKXSIZE": block, "BLOCKYSIZE": block} if block else {}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", width=pixels.shape[1], height=pixels.shape[0], count=1,
        dtype=pixels.dtype, crs=f"EPSG:{epsg}", transform=from_origin(left, top, metres),
        QUALITY="100", REVERSIBLE="YES", YCBCR420="NO", **blocks,
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def write_tiff(path, pixels, epsg=32633, left=300_000, top=5_900_040, metres=10, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "crs": f"EPSG:{epsg}" if epsg else None,
        "transform": from_origin(left, top, metres),
        **more,
    }
    with rasterio.open(
        path, "w", driver="GTiff", width=pixels.shape[1], height=pixels.shape[0], count=1,
        dtype=pixels.dtype, **options,
    ) as file:  # fmt: skip
        file.write(pixels, 1)


def make_safe(
    folder,
    *,
    baseline="05.09",
    offset=None,
    quantification=10_000,
    epsg=32633,
    left=300_000,
    top=5_900_040,
    width=240,
    height=180,
    bands=BANDS,
    nodata_columns=0,
    cloudy_columns=0,
    scl=True,
    level="2A",
    block=None,
    tile="33UUP",
):
    """Write a product into ``folder`` and return it.

    Args:
        offset: BOA_ADD_OFFSET of every band, or a mapping by band; by default as ESA's products of
            the baseline have it. False leaves the element out.
        nodata_columns: 10 m pixels at the left side that have no data; a multiple of 6.
        cloudy_columns: 10 m pixels at the right side that are cloud; a multiple of 2.
        block: Side length of the JPEG 2000 tiles of every band.
    """
    name = f"S2A_MSIL{level}_{TIME}_N{baseline.replace('.', '')}_R022_T{tile}_20230822T021825"
    made = Made(Path(folder) / f"{name}.SAFE")
    granule = f"GRANULE/L{level}_T{tile}_A042640_{TIME}"
    place = {"epsg": epsg, "left": left, "top": top, "block": block}
    listed = []
    for band, native in PIXEL_METRES.items():
        for metres in sizes_of(band, native, baseline):
            stem = f"{granule}/IMG_DATA/R{metres}m/T{tile}_{TIME}_{band}_{metres}m"
            listed.append(stem)
            if metres != native or band not in bands:
                continue
            pixels = numbers(band, width, height)
            pixels[:, : nodata_columns * 10 // native] = 0
            made.stored[band] = pixels
            write_jp2(made.path / f"{stem}.jp2", pixels, metres=metres, **place)
    if scl:
        made.scl = scene_classes(width, height, nodata_columns, cloudy_columns)
        stem = f"{granule}/IMG_DATA/R20m/T{tile}_{TIME}_SCL_20m"
        listed.append(stem)
        write_jp2(made.path / f"{stem}.jp2", made.scl, metres=20, **place)
    if offset is None:
        offset = -1000 if baseline >= "04.00" else False
    if offset is not False and not isinstance(offset, dict):
        offset = dict.fromkeys(BAND_IDS, offset)
    made.path.mkdir(parents=True, exist_ok=True)
    metadata = product_metadata(name, baseline, level, listed, quantification, offset or {})
    (made.path / f"MTD_MSIL{level}.xml").write_text(metadata, encoding="utf-8")
    tile_file = made.path / granule / "MTD_TL.xml"
    tile_file.parent.mkdir(parents=True, exist_ok=True)
    tile_file.write_text(tile_metadata(epsg, left, top, width, height), encoding="utf-8")
    return made


def sizes_of(band, native, baseline):
    """The pixel sizes at which a product of a baseline lists a band, the native one last."""
    coarser = [metres for metres in (60, 20, 10) if metres > native and band != "B08"]
    if band == "B01" and baseline >= "04.00":
        return [20, native]
    return [*coarser, native]


def scene_classes(width, height, nodata_columns=0, cloudy_columns=0):
    """A scene classification: vegetation, bare ground in every third row, cloud at the right."""
    classes = np.full((height // 2, width // 2), 4, np.uint8)
    classes[::3] = 5
    if cloudy_columns:
        classes[:, -cloudy_columns // 2 :] = 9
        classes[::2, -cloudy_columns // 2 :] = 8
    classes[:, : nodata_columns // 2] = 0
    return classes


def product_metadata(name, baseline, level, images, quantification, offsets):
    kind = {"2A": "User_Product_Level-2A", "1C": "User_Product_Level-1C"}[level]
    tag = f"Level-{level}_User_Product"
    quantity = "BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE"
    files = "\n".join(f"<IMAGE_FILE>{path}</IMAGE_FILE>" for path in images)
    listed = "\n".join(
        f'<BOA_ADD_OFFSET band_id="{BAND_IDS[band]}">{value}</BOA_ADD_OFFSET>'
        for band, value in offsets.items()
    )
    listed = f"<BOA_ADD_OFFSET_VALUES_LIST>{listed}</BOA_ADD_OFFSET_VALUES_LIST>" if listed else ""
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:{tag} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/{kind}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-08-21T10:10:31.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2A_{TIME}_042640_N{baseline}">
        <DATATAKE_SENSING_START>2023-08-21T10:10:31.024Z</DATATAKE_SENSING_START>
      </Datatake>
      <Product_Organisation>
        <Granule_List>
          <Granule imageFormat="JPEG2000">
{files}
          </Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <QUANTIFICATION_VALUES_LIST>
        <{quantity} unit="none">{quantification}</{quantity}>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      {listed}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:{tag}>
"""


def tile_metadata(epsg, left, top, width, height):
    sizes = "".join(
        f"""<Size resolution="{metres}"><NROWS>{height * 10 // metres}</NROWS>
        <NCOLS>{width * 10 // metres}</NCOLS></Size>
        <Geoposition resolution="{metres}"><ULX>{left}</ULX><ULY>{top}</ULY>
        <XDIM>{metres}</XDIM><YDIM>-{metres}</YDIM></Geoposition>"""
        for metres in (10, 20, 60)
    )
    zone = f"{epsg % 100:02}{'N' if epsg < 32700 else 'S'}"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile.xsd">
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone {zone}</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>EPSG:{epsg}</HORIZONTAL_CS_CODE>
      {sizes}
    </Tile_Geocoding>
  </n1:Geometric_Info>
</n1:Level-2A_Tile_ID>
"""


def zip_safe(made, path):
    """Zip a product as its distributors do, with its folder at the top."""
    whole = shutil.make_archive(str(path.with_suffix("")), "zip", made.path.parent, made.path.name)
    return Path(whole)


def make_band_folder(
    folder, *, bands=BANDS, width=240, height=180, scl=True, name="{band}.tif", **more
):
    """Write one TIFF for each band, in the way of ``write_tiff``, and return the product."""
    made = Made(Path(folder))
    for band in bands:
        made.stored[band] = numbers(band, width, height)
        path = made.path / name.format(band=band)
        write_tiff(path, made.stored[band], metres=PIXEL_METRES[band], **more)
    if scl:
        made.scl = scene_classes(width, height, cloudy_columns=60)
        write_tiff(made.path / name.format(band="SCL"), made.scl, metres=20, **more)
    return made


def make_item(made, *, base="", properties=None, assets=None, id="S2A_33UUP_20230821_0_L2A"):
    """A STAC item for a folder of band files: keys and ``eo:bands`` by common names.

    Args:
        base: What is put before the file names.
        assets: Band -> fields that its asset has besides.
    """
    common = dict(zip(BANDS, (
        "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3",
        "nir", "nir08", "nir09", "swir16", "swir22",
    ), strict=True))  # fmt: skip
    found = {path.stem: path.name for path in sorted(made.path.glob("*.tif"))}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": id,
        "geometry": None,
        "properties": {"datetime": "2023-08-21T10:10:31Z", **(properties or {})},
        "links": [],
        "assets": {
            common.get(band, band.lower()): {
                "href": base + file,
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                **({"eo:bands": [{"name": common[band]}]} if band in common else {}),
                **((assets or {}).get(band, {})),
            }
            for band, file in found.items()
        },
    }


def write_item(path, item):
    path.write_text(json.dumps(item), encoding="utf-8")
    return path

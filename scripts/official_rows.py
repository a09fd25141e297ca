"""Make src/reben/data/official_rows.bin from the two metadata tables of BigEarthNet v2.0.

    python scripts/official_rows.py metadata.parquet metadata_for_patches_with_snow_...parquet

Source of the tables: Zenodo record 10891137.
"""

import sys
from pathlib import Path

from reben.data import identity
from reben.data.metadata import PatchTable


def main() -> None:
    """Write the file, and print what `OFFICIAL_SPLITS` holds."""
    table = PatchTable.read(*sys.argv[1:])
    hashes = identity.hash_rows(table)
    if hashes is None:
        raise SystemExit("a patch name is too long")
    (Path(identity.__file__).parent / identity.ROWS_FILE).write_bytes(identity.pack_hashes(hashes))
    clear = table.filter(snow=False, cloud=False)
    for split in identity.OFFICIAL_SPLITS:
        part = clear.filter(split=split)
        print(split, len(part), part.fingerprint())


if __name__ == "__main__":
    main()

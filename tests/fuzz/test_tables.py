"""Damaged tables give their rows or a MetadataError."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import made_up
from fuzzing import NUM_CASES, ODD, damage, randoms, try_cases
from reben.data.metadata import PatchTable
from reben.data.selecting.label_table import read_label_table

CSV = (
    "patch_id,labels,split,country,contains_seasonal_snow\n"
    'a,"Pastures;Marine waters",train,Austria,true\nb,Pastures,test,Finland,false\n'
)


def parquet(rows):
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), written)
    return written.getvalue()


def write_and(read, path):
    def read_content(content):
        path.write_bytes(content)
        read(path)

    return read_content


@pytest.mark.parametrize("read", [lambda p: PatchTable.read(p, labels=None), read_label_table])
def test_parquet(tmp_path, read):
    content = parquet([made_up.row(number) for number in range(3)])
    cases = (damage(content, random) for random in randoms())
    assert try_cases(write_and(read, tmp_path / "m.parquet"), cases)


def test_csv(tmp_path):
    cases = (damage(CSV.encode(), random) for random in randoms())
    assert try_cases(write_and(read_label_table, tmp_path / "m.csv"), cases)


def test_parquet_of_odd_values(tmp_path):
    def cases():
        for random in randoms(NUM_CASES):
            rows = [made_up.row(number) for number in range(3)]
            name = random.choice([*rows[0]])
            for changed in rows if random.random() < 0.5 else rows[:1]:
                changed[name] = ODD[random.integers(len(ODD))]
            try:
                yield parquet(rows)
            except (pa.ArrowException, OverflowError, UnicodeError):
                continue  # Arrow itself has no such column

    read = write_and(lambda path: PatchTable.read(path, labels=None), tmp_path / "m.parquet")
    try_cases(read, cases())

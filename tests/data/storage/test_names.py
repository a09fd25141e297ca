import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from made_up import patch_id
from reben.data.storage.environment import all_stored, close_shared, open_lmdb
from reben.data.storage.names import Names

TEXTS = st.lists(
    st.one_of(
        st.text("abä_1", max_size=30),
        st.integers(0, 300).map(patch_id),
        st.text("ab", max_size=3).map("one_long_common_beginning_".__add__),
    ),
    max_size=60,
)


def names_of(texts, *, pieces=1):
    size = max(1, -(-len(texts) // pieces))
    chunks = [pa.array(texts[at : at + size], pa.string()) for at in range(0, len(texts), size)]
    return Names.of(pa.chunked_array(chunks, pa.string()))


@given(texts=TEXTS, pieces=st.integers(1, 4))
def test_names_come_back_as_they_were(texts, pieces):
    names = names_of(texts, pieces=pieces)
    assert len(names) == len(texts)
    assert names.texts(range(len(texts))) == texts == names.to_arrow().to_pylist()
    some = list(range(len(texts)))[::-2]
    assert names.take(np.array(some, np.int64)).to_arrow().to_pylist() == [texts[i] for i in some]


@given(texts=TEXTS)
def test_the_order_is_that_of_python(texts):
    assert [texts[row] for row in names_of(texts).order()] == sorted(texts)


@given(texts=TEXTS, others=TEXTS)
def test_membership_is_that_of_a_set(texts, others):
    texts = texts + others[::2]
    names = names_of(texts)
    assert names.are_in(names_of(others)).tolist() == [text in set(others) for text in texts]
    for text in others:
        assert names.row_of(text) == (texts.index(text) if text in texts else None)
    twice = names.first_twice()
    assert (twice is None) == (len(set(texts)) == len(texts))
    assert twice is None or texts.count(texts[twice]) > 1


@given(texts=TEXTS)
def test_padded_names_are_those_of_numpy(texts):
    expected = np.array([text.encode() for text in texts], "S80")
    assert names_of(texts).padded(80).tobytes() == expected.tobytes()
    assert names_of([*texts, "x" * 81]).padded(80) is None


@given(texts=TEXTS, suffix=st.sampled_from(["", "_reference_map", "1"]))
def test_the_names_in_a_store_are_told_by_their_suffix(texts, suffix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    keys = sorted({name + end for name in texts if name for end in ("", "_reference_map")})
    environment = open_lmdb(folder, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for key in keys:
            transaction.put(key.encode(), b"x")
    environment.close()
    without = "" if suffix else "_reference_map"
    stored = all_stored(folder, suffix, without=without).to_arrow().to_pylist()
    kept = [key for key in keys if not (without and key.endswith(without))]
    assert sorted(stored) == sorted(
        key.removesuffix(suffix) for key in kept if key.endswith(suffix)
    )
    close_shared(folder)

import json
import sys

import pystac
import pystac_client
import pytest

from reben.errors import (
    AreaError,
    ConfigError,
    DownloadError,
    MissingExtraError,
    ProductError,
)
from reben.scene.product import open_scene
from reben.scene.readers.stac import open_item
from reben.scene.search import is_stac, items_of, only_item
from scene.made_up_product import make_band_folder, make_item, numbers, write_item
from scene.range_server import serve_folder
from scene.stac_server import CORE, SEARCH, StacApi, serve_api


def item(id, date="2023-08-21", box=(13, 47, 14, 48), cloud=10.0, collection="sentinel-2-l2a"):
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    properties = {"datetime": f"{date}T10:10:31Z"}
    if cloud is not None:
        properties["eo:cloud_cover"] = cloud
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": id,
        "collection": collection,
        "bbox": list(box),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "links": [],
        "assets": {"red": {"href": "https://some.host/B04.tif?sig=secret"}},
    }


ITEMS = [
    item("C", "2023-09-01", cloud=60),
    item("A", "2023-06-05", cloud=5),
    item("D", "2023-08-21", (20, 10, 21, 11), cloud=0),
    item("B", "2023-08-21", cloud=15.5),
    item("L", "2023-08-21", collection="landsat-c2-l2"),
    item("N", "2024-01-01", cloud=None),
]


def ids(*args, **more):
    return [found["id"] for found in items_of(*args, **more)]


def collection(items=ITEMS):
    return {"type": "FeatureCollection", "features": list(items)}


# Forms --------------------------------------------------------------------------------------------


def test_every_form_of_items_gives_plain_dicts_by_their_time(tmp_path):
    whole = ["A", "B", "D", "L", "C", "N"]
    saved = write_item(tmp_path / "items.json", collection())
    objects = pystac.ItemCollection.from_dict(collection())

    for source in (
        collection(), saved, str(saved), objects, ITEMS, list(objects), iter(objects), tuple(ITEMS),
        [saved], [write_item(tmp_path / f"{one['id']}.json", one) for one in ITEMS],
    ):  # fmt: skip
        assert is_stac(source)
        found = items_of(source)
        assert [one["id"] for one in found] == whole
        assert {type(one) for one in found} == {dict}
        assert found[0]["assets"]["red"]["href"].endswith("?sig=secret")


def test_a_search_of_pystac_client_is_taken_with_what_signs_its_addresses():
    def sign(found):
        for one in found["features"]:
            one["assets"]["red"]["href"] = "https://some.host/B04.tif?sig=fresh"

    with serve_api(StacApi(ITEMS)) as api:
        search = pystac_client.Client.open(api.url, modifier=sign).search(bbox=(13, 47, 14, 48))
        assert is_stac(search)
        found = items_of(search, max_cloud=20, collection="sentinel-2-l2a")

    assert [one["id"] for one in found] == ["A", "B"]
    assert {one["assets"]["red"]["href"] for one in found} == {
        "https://some.host/B04.tif?sig=fresh"
    }


def test_arrays_and_mappings_of_them_are_no_items():
    import xarray as xr

    array = xr.DataArray([[1.0]], dims=("y", "x"))
    for source in (
        array,
        xr.Dataset({"B02": array}),
        {"B02": array, "type": array},
        [],
        3,
        "x.tif",
    ):
        assert not is_stac(source)


def test_pixels_are_read_from_every_form_of_one_item(tmp_path):
    made = make_band_folder(tmp_path / "made", bands=("B04",))
    one = make_item(made, properties={"s2:processing_baseline": "05.09"})
    file = write_item(made.path / "item.json", one)
    list_file = write_item(made.path / "list.geojson", collection([one]))
    whole = make_item(made, base=f"{made.path}/", properties={"s2:processing_baseline": "05.09"})
    local = pystac.Item.from_file(str(file))
    for source in (
        str(file), list_file, whole, collection([whole]), local, pystac.ItemCollection([local]),
        [local], f"{list_file}#{one['id']}",
    ):  # fmt: skip
        with open_scene(source) as scene:
            assert scene.read(["B04"], 0, 6)["B04"][0, 0] == numbers("B04", 240, 180)[0, 0] - 1000
            assert scene.name == one["id"]


def test_items_of_the_web_begin_there_and_name_no_file_of_this_machine(tmp_path):
    made = make_band_folder(tmp_path, bands=("B04",))
    stated = {"s2:processing_baseline": "05.09"}
    write_item(tmp_path / "items.json", collection([make_item(made, properties=stated)]))
    files = make_item(made, base=f"file://{tmp_path}/", properties=stated)
    files["links"] = [{"rel": "self", "href": f"{tmp_path}/item.json"}]
    write_item(tmp_path / "files.json", collection([files]))

    with serve_folder(tmp_path) as (url, _):
        with open_scene(f"{url}/items.json") as scene:
            assert scene.read(["B04"], 0, 6)["B04"][0, 0] == numbers("B04", 240, 180)[0, 0] - 1000
        (found,) = items_of(f"{url}/items.json")
        assert open_item(found).base == f"{url}/items.json"
        with pytest.raises(ProductError, match="comes from the web and names the local file"):
            open_scene(f"{url}/files.json")


def test_several_items_are_listed_with_date_and_cloud_and_one_can_be_named(tmp_path):
    path = write_item(tmp_path / "items.json", collection(ITEMS[:3]))

    with pytest.raises(ProductError) as caught:
        open_scene(path)

    assert "holds 3 items" in str(caught.value)
    assert "A (2023-06-05, cloud 5 %); D (2023-08-21, cloud 0 %); C (2023-09-01, cloud 60 %)" in (
        str(caught.value)
    )
    assert f"{path}#A" in str(caught.value)
    assert "reben predict-map" in str(caught.value)
    assert only_item(f"{path}#A")["id"] == "A"
    assert only_item(path, datetime="2023-09")["id"] == "C"
    with pytest.raises(ProductError, match="#B holds no item"):
        only_item(f"{path}#B")


def test_no_message_holds_what_signs_an_address(tmp_path):
    write_item(tmp_path / "items.json", collection())
    with serve_folder(tmp_path) as (url, _):
        for asked in ("items.json?sig=secret", "gone.json?sig=secret"):
            with pytest.raises((ProductError, DownloadError)) as caught:
                only_item(f"{url}/{asked}")
            assert "secret" not in str(caught.value)


# Queries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"datetime": "2023-08-21"}, ["B", "D", "L"]),
        ({"datetime": "2023-08"}, ["B", "D", "L"]),
        ({"datetime": "2023"}, ["A", "B", "D", "L", "C"]),
        ({"datetime": "2023-08-22/.."}, ["C", "N"]),
        ({"datetime": "../2023-06-05"}, ["A"]),
        ({"datetime": "2023-06/2023-08"}, ["A", "B", "D", "L"]),
        ({"datetime": "2023-08-21T12:10:31+02:00"}, ["B", "D", "L"]),
        ({"datetime": "2023-08-21T10:10:32Z/2023-12-31"}, ["C"]),
        ({"bbox": "19.5,9,20,10.5"}, ["D"]),
        ({"bbox": (13.9, 47.9, 13.95, 47.95), "max_cloud": 15.5}, ["A", "B", "L"]),
        ({"collection": "landsat-c2-l2"}, ["L"]),
    ],
)
def test_what_is_asked_holds_for_every_form_and_api(query, found):
    assert ids(collection(), **query) == found
    with serve_api(StacApi(ITEMS)) as api:
        if query.keys() & {"bbox", "datetime"}:
            assert ids(f"{api.url}/", **query) == found


def test_a_box_across_the_180th_meridian_touches_items_on_both_sides():
    both = [item("W", box=(-179.5, -17, -179, -16)), item("E", box=(179, -17, 179.9, -16))]
    across = item("X", box=(179.8, -17, -179.9, -16))

    assert ids([*both, across], bbox="179.5,-17,-179.2,-16") == ["E", "W", "X"]
    assert ids([*both, across], bbox="170,-17,179.5,-16") == ["E"]
    assert ids([across], bbox="-179.95,-17,-170,-16") == ["X"]


@pytest.mark.parametrize(
    "text", ["21.08.2023", "2023-13", "2023-02-30", "..", "../..", "a/b", "2023/2024/2025", ""]
)
def test_a_date_that_is_none_is_refused_with_examples(text):
    with pytest.raises(ConfigError, match=r"write 2023-08-21, 2023-08, 2023"):
        items_of(collection(), datetime=text)


def test_other_queries_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="ends before it begins"):
        items_of(collection(), datetime="2023-09/2023-08")
    with pytest.raises(ConfigError, match="0 to 100"):
        items_of(collection(), max_cloud=101)
    with pytest.raises(AreaError, match="west, south, east, north"):
        items_of(collection(), bbox="13,47")


def test_no_result_repeats_what_was_asked():
    with serve_api(StacApi(ITEMS)) as api, pytest.raises(ProductError) as caught:
        items_of(api.url, bbox=(0, 0, 1, 1), datetime="2023-06/2023-07", max_cloud=20)

    assert "has no item for bbox 0,0,1,1, datetime 2023-06/2023-07, max_cloud 20" in (
        str(caught.value)
    )


# An API -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("post", [True, False])
def test_an_api_is_asked_page_by_page_in_the_way_that_it_offers(post):
    with serve_api(StacApi(ITEMS, post=post)) as api:
        found = ids(api.url, bbox="13,47,14,48", datetime="2023-01/2023-12", max_cloud=50)

    assert found == ["A", "B", "L"]
    assert [method for method, _ in api.asked] == ["POST" if post else "GET"] * 2
    _, first = api.asked[0]
    assert first["datetime"] == "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"
    asked = first["query"] if post else json.loads(first["query"])
    assert asked == {"eo:cloud_cover": {"lte": 50}}


def test_a_collection_of_an_api_is_searched_alone():
    with serve_api(StacApi(ITEMS)) as api:
        address = f"{api.url}/collections/sentinel-2-l2a"
        assert ids(address, datetime="2023-08") == ["B", "D"]
        assert ids(f"{address}#B") == ["B"]


def test_an_api_that_cannot_ask_for_cloud_is_asked_without():
    with serve_api(StacApi(ITEMS, conforms_to=(CORE, SEARCH))) as api:
        assert ids(api.url, bbox="13,47,14,48", max_cloud=12) == ["A", "L"]

    assert not any("query" in asked for _, asked in api.asked)


def test_an_api_is_not_asked_for_all_it_has():
    with serve_api(StacApi(ITEMS)) as api, pytest.raises(ConfigError, match="--bbox WEST,SOUTH"):
        items_of(api.url, max_cloud=20)
    assert not api.asked


def test_a_catalogue_without_search_is_refused(tmp_path):
    for conforms_to in ((), (CORE,)):
        with (
            serve_api(StacApi(ITEMS, conforms_to=conforms_to)) as api,
            pytest.raises(ProductError, match="no STAC API with item search"),
        ):
            items_of(api.url, datetime="2023")
    path = write_item(tmp_path / "catalog.json", {"type": "Catalog", "id": "x", "links": []})
    with pytest.raises(ProductError, match="holds links, not items"):
        items_of(path)


def test_an_api_without_an_end_is_left(monkeypatch):
    monkeypatch.setattr("reben.scene.search.MAX_ITEMS", 6)
    api = StacApi(ITEMS)
    api.endless = True
    with serve_api(api), pytest.raises(ProductError, match="more than 6 items for datetime 2023"):
        items_of(api.url, datetime="2023")
    monkeypatch.undo()
    monkeypatch.setattr("reben.scene.stac_web.MAX_SEARCH_REQUESTS", 5)
    with serve_api(api), pytest.raises(DownloadError, match="gave 5 pages and has more"):
        items_of(api.url, datetime="2023")
    assert len(api.asked) < 20


@pytest.mark.parametrize("path", ["/", "/search"])
def test_an_api_that_fails_is_a_download_error(path):
    api = StacApi(ITEMS)
    answer = api.answer
    api.answer = lambda method, asked, more: None if asked == path else answer(method, asked, more)
    with serve_api(api), pytest.raises(DownloadError, match=r"Could not fetch .*: HTTP 404"):
        items_of(f"{api.url}/?token=secret", datetime="2023")


@pytest.mark.parametrize(
    "page",
    [
        {"type": "FeatureCollection", "features": [{"type": "Feature"}, 3]},
        {"type": "FeatureCollection", "features": 3},
        {
            "features": [{"type": "Feature"}],
            "links": [{"rel": "next", "href": "file:///etc/passwd"}],
        },
        {"features": [{"type": "Feature"}], "links": [{"href": "/x"}]},
        [],
    ],
)
def test_an_api_that_answers_nonsense_gives_an_error_of_reben(page):
    api = StacApi(ITEMS)
    api.found = lambda *_: page
    with serve_api(api), pytest.raises((ProductError, DownloadError)):
        items_of(api.url, datetime="2023")


def test_one_page_of_a_search_is_not_taken_for_all():
    with (
        serve_api(StacApi(ITEMS)) as api,
        pytest.raises(ProductError, match="one page of a search"),
    ):
        items_of(f"{api.url}/search?datetime=2023-01-01T00:00:00Z/..")


def test_without_pystac_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    with (
        serve_api(StacApi(ITEMS)) as api,
        pytest.raises(MissingExtraError, match=r"reben\[stac\]"),
    ):
        items_of(api.url, datetime="2023")
    assert ids(collection(), datetime="2023-09") == ["C"]

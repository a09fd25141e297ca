"""The demo page in a real browser: Chromium of the system, without a window.

Every test also keeps two promises for the whole of its visit: nothing is asked of another host
than 127.0.0.1, and the browser's console holds no error.
"""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import stat
import time
import warnings
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

import made_up
import made_up_files
from demo_page_server import reben_demo, serving
from reben.app.demo.locator import centre_of, describe_degrees
from reben.data.preprocess import SuspiciousInputWarning
from reben.model.classifier import Classifier
from reben.spec.patches import Bounds, place_of_name

pytestmark = pytest.mark.browser

BROWSER = os.environ.get("REBEN_CHROMIUM", shutil.which("chromium") or "/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
NAMES = ("Pastures", "Arable land", "Inland waters")
MILLISECONDS = 30_000


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return Classifier("test_resnet", "VV,VH,B04,B03,B02,B08,B8A").eval()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    rasterio = pytest.importorskip("rasterio")
    folder = tmp_path_factory.mktemp("scene")
    values = np.random.default_rng(2).uniform(0, 1, (3, 10, 12)).astype(np.float32)
    values[:, 0, 0] = np.nan
    profile = {"driver": "GTiff", "count": 3, "height": 10, "width": 12, "dtype": "float32"}
    transform = rasterio.Affine(1200, 0, 300_000, 0, -1200, 5_400_000)
    with rasterio.open(
        folder / "scores.tif", "w", transform=transform, crs="EPSG:32633", **profile
    ) as file:
        file.write(values)
        file.descriptions = NAMES
    Image.new("RGB", (60, 30), "#336699").save(folder / "map.png")
    return folder, values


@pytest.fixture(scope="module")
def page_server(model, scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = made_up.write_store(folder / "store")
    words = (model.save_pretrained(folder / "toy"), "--data", store, "--scene", scene[0])
    with serving(reben_demo(*words)) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def visiting(browser, address, **options):
    """A visit to the page that ends with looking at what was asked for and what went wrong."""
    context = browser.new_context(**({"viewport": LAPTOP} | options))
    context.set_default_timeout(MILLISECONDS)
    asked, errors = [], []
    tab = context.new_page()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#scores table.scores")
    tab.wait_for_selector("#save-JSON:not([disabled])")
    yield tab
    elsewhere = [url for url in asked if not re.match(r"http://127\.0\.0\.1:|data:|blob:", url)]
    context.close()
    assert asked
    assert elsewhere == []
    assert errors == []


@pytest.fixture
def visit(browser, page_server):
    with visiting(browser, page_server[0]) as tab:
        yield tab


def shown_scores(tab, within="#scores"):
    """Label -> score, as the page shows them, in their order."""
    rows = tab.locator(f"{within} table.scores tbody tr")
    labels = rows.locator("th").all_inner_texts()
    numbers = rows.locator("td.number").evaluate_all("cells => cells.map(c => c.firstChild.data)")
    return dict(zip(map(str.strip, labels), map(float, numbers), strict=True))


def scores_of(model, bands):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousInputWarning)  # of bands that are switched off
        scores = model.predict(bands)
    return {label: pytest.approx(score, abs=6e-4) for label, score in scores.top(19)}


def choose(tab, number):
    """Choose the patch ``number`` from the list with the keyboard."""
    box = tab.locator("#sample input")
    box.click()
    box.press("Control+a")
    box.press_sequentially(f"33UUP 0/{number},")
    tab.get_by_role("option", name=f"33UUP 0/{number},").wait_for()
    box.press("Enter")
    tab.get_by_text(made_up.patch_id(number), exact=True).wait_for()


def upload(tab, files, where="#patch-upload", name="Upload your own patch"):
    opener = tab.get_by_role("button", name=name)
    if not tab.locator(f"{where} input[type=file]").count():
        opener.click()
    if tab.locator(f"{where} [aria-label='Clear']").count():
        tab.locator(f"{where} [aria-label='Clear']").click()
    payload = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        for name, content in files.items()
    ]
    tab.locator(f"{where} input[type=file]").set_input_files(payload)


def files_of(*inputs, number=7):
    return {
        path.rpartition("/")[2]: content
        for which in inputs
        for path, content in made_up_files.files_of(which, number).items()
    }


def zipped(members):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return written.getvalue()


# Patches -----------------------------------------------------------------------------------------


def test_the_page_begins_with_a_sample_and_its_scores(visit, model):
    assert visit.title() == "reben demo"
    assert shown_scores(visit) == scores_of(model, made_up.patch(11))
    assert list(shown_scores(visit)) == [
        label for label, _ in model.predict(made_up.patch(11)).top(19)
    ]
    alts = visit.locator(".views img").evaluate_all("all => all.map(image => image.alt)")
    assert [alt.split(" picture of ")[0] for alt in alts] == [
        "True colour",
        "False colour",
        "Radar",
    ]


def test_choosing_another_sample_shows_its_scores_and_truth(visit, model):
    choose(visit, 4)
    assert shown_scores(visit) == scores_of(model, made_up.patch(4))
    visit.get_by_text("The data set names 1").wait_for()


def test_switching_a_group_off_moves_the_scores_and_back(visit, model):
    before = shown_scores(visit)
    visit.get_by_label("Visible: B04 B03 B02").uncheck()
    visit.locator("#scores td.delta").first.wait_for()
    bands = made_up.patch(11)
    for name in ("B02", "B03", "B04"):
        mean = model.config.statistics.mean[name]
        bands[name] = np.full((120, 120), mean, np.float32)
    assert shown_scores(visit) == scores_of(model, bands)
    assert list(shown_scores(visit)) == list(before)
    visit.get_by_label("Visible: B04 B03 B02").check()
    visit.locator("#scores td.delta").first.wait_for(state="detached")
    assert shown_scores(visit) == before


def test_the_band_table_shows_every_channel(visit, model):
    visit.get_by_role("button", name="What the model expects").click()
    rows = visit.locator("#bands tbody tr")
    rows.first.wait_for()
    cells = [row.split("\t") for row in rows.all_inner_texts()]
    assert [row[1] for row in cells if row[0]] == list(model.bands)
    assert {row[-1] for row in cells if row[0]} == {"OK"}


def test_results_can_be_saved(visit, model):
    saved = {}
    for kind in ("JSON", "CSV", "PNG"):
        with visit.expect_download() as download:
            visit.locator(f"#save-{kind}").click()
        saved[kind] = download.value
    content = json.loads(saved["JSON"].path().read_text())
    assert {row["label"]: row["score"] for row in content["scores"]} == scores_of(
        model, made_up.patch(11)
    )
    rows = list(csv.DictReader(io.StringIO(saved["CSV"].path().read_text())))
    assert len(rows) == 19
    with Image.open(saved["PNG"].path()) as picture:
        assert picture.size[0] == 1600
    assert saved["PNG"].suggested_filename == f"reben-{made_up.patch_id(11)}.png"


# Several choices at once -------------------------------------------------------------------------


def pick(tab, number):
    """Choose a patch as `choose` does, and wait for nothing."""
    box = tab.locator("#sample input")
    box.click()
    box.fill(f"33UUP 0/{number},")
    tab.get_by_role("option", name=f"33UUP 0/{number},").click()


def require_shown(tab, model, number, without=()):
    """Check that box, facts, scores and files are all of one patch, now and a second later."""
    tab.get_by_text(made_up.patch_id(number), exact=True).wait_for()
    tab.wait_for_selector("#save-JSON:not([disabled])")
    tab.wait_for_timeout(1000)
    tab.wait_for_selector("#save-JSON:not([disabled])")
    bands = made_up.patch(number)
    for name in without:
        mean = model.config.statistics.mean[name]
        bands[name] = np.full(bands[name].shape, mean, np.float32)
    assert tab.get_by_text(made_up.patch_id(number), exact=True).count() == 1
    assert shown_scores(tab) == scores_of(model, bands)
    with tab.expect_download() as download:
        tab.locator("#save-JSON").click()
    content = json.loads(download.value.path().read_text())
    assert content["patch"] == made_up.patch_id(number)
    assert {row["label"]: row["score"] for row in content["scores"]} == scores_of(model, bands)


@pytest.mark.parametrize("gap", [0, 0.1, 0.3, 1.0])
def test_the_last_of_several_choices_is_shown(visit, model, gap):
    for number in (4, 7, 2, 9):
        pick(visit, number)
        visit.wait_for_timeout(1000 * gap)
    assert visit.locator("#sample input").input_value().startswith("33UUP 0/9,")
    require_shown(visit, model, 9)


@pytest.mark.parametrize("gap", [0, 0.1, 0.5])
def test_choices_and_switches_end_as_the_boxes_say(visit, model, gap):
    visible = visit.get_by_label("Visible: B04 B03 B02")
    radar = visit.get_by_label("Sentinel-1: VV VH")
    for act in (
        lambda: pick(visit, 4),
        visible.uncheck,
        lambda: pick(visit, 7),
        radar.uncheck,
        visible.uncheck,
        radar.check,
    ):
        act()
        visit.wait_for_timeout(1000 * gap)
    assert (visible.is_checked(), radar.is_checked()) == (False, True)
    require_shown(visit, model, 7, without=("B02", "B03", "B04"))


@pytest.mark.parametrize("gap", [0, 0.1, 0.5])
def test_an_upload_and_a_choice_end_with_the_later_one(visit, model, gap):
    upload(visit, files_of("s2", "s1", number=5))
    visit.locator("#patch-upload [aria-label='Clear']").wait_for()
    visit.wait_for_timeout(1000 * gap)
    pick(visit, 3)
    require_shown(visit, model, 3)
    assert visit.locator("#patch-upload [aria-label='Clear']").count() == 0
    pick(visit, 8)
    visit.wait_for_timeout(1000 * gap)
    upload(visit, files_of("s2", "s1", number=6))
    require_shown(visit, model, 6)
    assert visit.locator("#sample input").input_value() == ""


def test_an_upload_that_is_taken_back_is_no_longer_shown(visit):
    upload(visit, files_of("s2", "s1"))
    visit.get_by_text(made_up.patch_id(7), exact=True).wait_for()
    visit.locator("#patch-upload [aria-label='Clear']").click()
    visit.locator("#scores table.scores").wait_for(state="detached")
    assert visit.get_by_text(made_up.patch_id(7), exact=True).count() == 0
    assert visit.locator("#save-JSON").is_disabled()


def found_below(folder, pattern):
    """Return the files below a folder; search again if one goes meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return list(folder.rglob(pattern))


def test_uploads_are_gone_soon_after_their_visitor(browser, page_server):
    with visiting(browser, page_server[0]) as tab:
        upload(tab, files_of("s2", "s1", number=5))
        tab.get_by_text(made_up.patch_id(5), exact=True).wait_for()
        assert len(list(page_server[1].rglob("*_R022_T33UUP_00_05_B*.tif"))) == 12
    for _ in range(60):
        left = found_below(page_server[1], "*_00_05*.tif")
        if not left:
            break
        time.sleep(0.5)
    assert left == []


# Uploads -----------------------------------------------------------------------------------------


def test_uploaded_tiffs_are_predicted(visit, model):
    upload(visit, files_of("s2", "s1"))
    visit.get_by_text(made_up.patch_id(7), exact=True).wait_for()
    assert shown_scores(visit) == scores_of(model, made_up.patch(7))
    named = place_of_name(made_up.patch_id(7))
    east = made_up_files.EAST_OF_NAME
    place = Bounds(named.epsg, named.left + east, named.bottom, named.right + east, named.top)
    assert visit.get_by_text(describe_degrees(*centre_of(place)), exact=True).count() == 1
    choose(visit, 11)  # the patch that was shown before
    assert shown_scores(visit) == scores_of(model, made_up.patch(11))


def test_an_uploaded_zip_is_predicted(visit, model):
    members = [(f"patch/{name}", content) for name, content in files_of("s2", "s1").items()]
    upload(visit, {"patch.zip": zipped(members)})
    visit.get_by_text(made_up.patch_id(7), exact=True).wait_for()
    assert shown_scores(visit) == scores_of(model, made_up.patch(7))


def test_bands_that_are_missing_open_the_table_that_says_which(visit):
    upload(visit, files_of("s2"))
    visit.get_by_role("alert").filter(has_text="The model needs VV, VH").wait_for()
    visit.locator("#bands tr.wrong").first.wait_for()
    assert visit.locator("#bands tr.wrong td.status").all_inner_texts() == ["missing", "missing"]
    assert visit.locator("#scores table.scores").count() == 0


def link_to_passwords():
    link = zipfile.ZipInfo("x_B02.tif")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped([(link, b"/etc/passwd")])


WRONG = {
    "a picture": (
        {"me.jpg": b"\xff\xd8\xff\xe0" + bytes(99)},
        "me.jpg is not a TIFF: it is a JPEG",
    ),
    "a letter": ({"x_B02.tif": b"Dear reader"}, "x_B02.tif is not a TIFF"),
    "two patches": (
        {"a_B02.tif": b"II*\0", "b_B03.tif": b"II*\0"},
        "a_B02.tif is a damaged TIFF",
    ),
    "a path out": ({"z.zip": zipped([("../../evil_B02.tif", b"x")])}, "leads out of the folder"),
    "a link": ({"z.zip": link_to_passwords()}, "which is a link"),
    "a bomb": ({"z.zip": zipped([("x_B02.tif", bytes(7 << 20))])}, "zip bomb"),
    "a nest": ({"z.zip": zipped([("x_B02.tif", zipped([("y", b"y")]))])}, "another zip"),
    "no zip": ({"z.zip": b"PK\x03\x04 nothing"}, "damaged zip"),
    "a script": ({"<img src=x onerror=alert(1)>_B02.tif": b"x"}, "is not a TIFF"),
}


def test_wrong_files_and_hostile_zips_get_a_message_and_leave_nothing_behind(
    visit, page_server, tmp_path
):
    for files, said in WRONG.values():
        upload(visit, files)
        visit.get_by_role("alert").filter(has_text=said).wait_for()
        assert "Traceback" not in visit.inner_text("body")
        assert visit.locator("#scores table.scores").count() == 0
    assert not list(page_server[1].rglob("*evil*"))
    assert not list(page_server[1].parent.glob("evil*"))


# Scenes ------------------------------------------------------------------------------------------


def test_a_click_on_the_class_map_shows_the_scores_of_that_cell(visit, scene):
    values = scene[1]
    visit.get_by_role("tab", name="Scene").click()
    frame = visit.locator("#class-map .frame")
    frame.wait_for()
    box = frame.locator("img").bounding_box()
    for column, row in ((7, 2), (11, 9)):
        x = (column + 0.5) / 12 * box["width"]
        y = (row + 0.5) / 10 * box["height"]
        frame.click(position={"x": x, "y": y})
        visit.get_by_text(f"column {column} of 12, row {row} of 10").wait_for()
        expected = dict(zip(NAMES, values[:, row, column].tolist(), strict=True))
        assert shown_scores(visit, "#cell-scores") == pytest.approx(expected, abs=6e-4)
    place = Bounds(32633, 313_200, 5_388_000, 314_400, 5_389_200)
    assert visit.get_by_text(describe_degrees(*centre_of(place)), exact=True).count() == 1
    assert visit.locator(".quicklook img").get_attribute("alt").startswith("Quick look of")


def test_arrow_keys_move_from_cell_to_cell(visit):
    visit.get_by_role("tab", name="Scene").click()
    frame = visit.locator("#class-map .frame")
    frame.focus()
    frame.press("ArrowRight")
    visit.get_by_text("column 7 of 12, row 5 of 10").wait_for()
    for _ in range(12):
        frame.press("ArrowUp")
    visit.get_by_text("column 7 of 12, row 0 of 10").wait_for()
    for _ in range(12):
        frame.press("ArrowLeft")
    visit.get_by_text("This cell has no scores").wait_for()


def test_a_scene_can_be_uploaded_and_a_wrong_one_is_a_message(visit, scene):
    visit.get_by_role("tab", name="Scene").click()
    opener = "Open the result of reben predict-scene"
    upload(visit, {"scores.tif": b"a letter"}, "#scene-upload", opener)
    visit.get_by_role("alert").filter(has_text="cannot be read as a GeoTIFF").wait_for()
    assert visit.locator("#class-map .frame").count() == 0
    content = (scene[0] / "scores.tif").read_bytes()
    upload(visit, {"other.tif": content}, "#scene-upload", opener)
    visit.get_by_role("application", name="Class map of other.tif").wait_for()


# Looks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_its_texts_stand_out(browser, page_server, viewport, scheme):
    options = {"viewport": viewport, "color_scheme": scheme}
    with visiting(browser, page_server[0], **options) as tab:
        for name in ("Patch", "Scene"):
            tab.get_by_role("tab", name=name).click()
            assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        tab.get_by_role("tab", name="Patch").click()
        tab.get_by_role("button", name="What the model expects").click()
        tab.locator("#bands tbody tr").first.wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        looked, weak = tab.evaluate(CONTRASTS)
        assert looked > 60
        assert weak == []


def test_everything_that_can_be_used_has_a_name_and_is_reached_by_tab(visit):
    unnamed = visit.evaluate(
        """() => [...document.querySelectorAll('main input, main button, main [tabindex="0"]')]
        .filter(e => e.offsetParent && e.type !== 'file')
        .filter(e => !(e.getAttribute('aria-label') || e.labels?.length || e.innerText.trim()))
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    reached, without_mark = set(), set()
    for _ in range(20):
        visit.keyboard.press("Tab")
        place, outline = visit.evaluate(FOCUSED)
        reached.add(place)
        if outline == "none" and place != "nowhere":
            without_mark.add(place)
    assert {"sample", "groups", "save-JSON", "save-CSV", "save-PNG"} <= reached
    assert without_mark == set()


FOCUSED = """() => {
  const e = document.activeElement;
  const known = e.closest('#sample, #groups, #patch-upload, #save-JSON, #save-CSV, #save-PNG');
  const inside = e.closest('main');
  return [inside ? known?.id || e.outerHTML.slice(0, 80) : 'nowhere',
    getComputedStyle(e).outlineStyle];
}"""
"""What has the keyboard's focus, and how it is marked."""

CONTRASTS = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/rgba\\(.*, 0\\)|transparent/.test(c)) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  let looked = 0;
  for (const e of document.querySelectorAll('main *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility() || e.closest('svg, [disabled], .unseen')) continue;
    looked += 1;
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([e.innerText.slice(0, 40), ratio.toFixed(2)]);
  }
  return [looked, found];
}"""
"""How many texts there are, and those whose contrast to their ground is below 4.5 (WCAG 2, AA)."""

import pytest

from reben.data.synthetic.ground import COVERS
from reben.data.synthetic.surfaces import CLOUD, LOOKS, MATERIALS, SNOW
from reben.spec.bands import S2_FULL
from reben.spec.labels import CORINE_TO_LABEL


def test_every_code_that_grows_or_has_a_label_has_a_look():
    assert set(LOOKS) >= set(COVERS)
    assert set(LOOKS) >= set(CORINE_TO_LABEL)


def test_every_look_is_made_of_known_materials_that_add_up():
    for look in LOOKS.values():
        assert set(look.materials) <= set(MATERIALS)
        assert sum(look.materials.values()) == pytest.approx(1)


def test_every_spectrum_has_a_value_for_each_band():
    for spectrum in (*MATERIALS.values(), SNOW, CLOUD):
        assert len(spectrum) == len(S2_FULL)
        assert min(spectrum) > 0


@pytest.mark.parametrize("material", ["crop", "grass", "broad leaves", "needles"])
def test_green_plants_have_a_red_edge(material):
    band = dict(zip(S2_FULL, MATERIALS[material], strict=True))
    assert band["B08"] > 4 * band["B04"]
    assert band["B03"] > band["B04"]


@pytest.mark.parametrize("material", ["clear water", "murky water"])
def test_water_is_dark_in_the_infrared(material):
    band = dict(zip(S2_FULL, MATERIALS[material], strict=True))
    assert max(band["B08"], band["B11"], band["B12"]) < 0.6 * band["B02"]


def test_bare_soil_is_brighter_the_longer_the_wave_up_to_the_shortwave_infrared():
    soil = [MATERIALS["dry soil"][S2_FULL.index(name)] for name in ("B02", "B04", "B08", "B11")]
    assert soil == sorted(soil)


def test_towns_are_bright_and_water_is_dark_to_radar():
    assert LOOKS[111].vv_db > LOOKS[311].vv_db > LOOKS[523].vv_db
    assert all(look.vh_db < look.vv_db for look in LOOKS.values())

import pytest

from reben.support.times import copernicus_notice, time_in

S2 = "S2A_MSIL2A_20170613T101031_N0500_R022_T33UUP_20231010T101031"
S1 = "S1A_IW_GRDH_1SDV_20181231T165043_20190101T165108_022111_026345_ABCD"


@pytest.mark.parametrize(
    ("products", "years"),
    [
        ([S2], " 2017"),
        ([S1, S2, S2], " 2017, 2018"),
        (["2022-04-13T15:07:59.024Z"], " 2022"),
        (["2021-12-31", "2022-01-01", "no day"], " 2021, 2022"),
        (["my orchard", "", "20010101T000000", "20171340T101031"], ""),
        ([], ""),
    ],
)
def test_the_notice_names_the_years_in_which_products_were_sensed(products, years):
    assert copernicus_notice(products) == f"Contains modified Copernicus Sentinel data{years}"


def test_a_time_is_the_first_one_that_can_be():
    assert time_in(["20171340T101031 and 2017-06-13 10:10:31"]).isoformat() == "2017-06-13T10:10:31"
    assert time_in(["no time"]) is None
    assert time_in(["2021-12-31"]).isoformat() == "2021-12-31T00:00:00"
    assert time_in(["made 2021-12-31"]) is None

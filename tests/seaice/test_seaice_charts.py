import numpy as np
import pytest

from arcticdl.seaice import charts, colours, labels, schemes
from arcticdl.seaice.labels import VoidReason

SOD, SIC, FLOE = schemes.AUTOICE_SOD, schemes.AUTOICE_SIC, schemes.AUTOICE_FLOE


def egg(ct, *types, poly_type="I", **more):
    row = {"CT": ct, "POLY_TYPE": poly_type, **more}
    for slot, codes in zip("ABC", types, strict=False):
        row |= dict(zip((f"C{slot}", f"S{slot}", f"F{slot}"), codes, strict=True))
    return charts.read_egg(row)


def test_every_concentration_interval_is_ordered_and_within_one():
    for code, (low, high) in charts.CONCENTRATION.items():
        assert 0.0 <= low <= high <= 1.0, code
        if code % 10 and 12 <= code <= 79 and code != 55:
            assert (low, high) == (code // 10 / 10, code % 10 / 10)


def test_ranges_of_the_table():
    assert charts.concentration_interval(79) == (0.7, 0.9)
    assert charts.concentration_interval(81) == (0.8, 1.0)
    assert charts.concentration_interval(91) == (0.9, 1.0)
    assert charts.concentration_interval(99) is None


def test_thickness_codes_of_version_3():
    thickness = {code: charts.STAGE[code].interval for code in (3, 50, 51, 59, 60)}
    assert [each.low for each in thickness.values()] == [3, 50, 55, 95, 100]
    assert charts.STAGE[69].interval.low == 190
    assert charts.STAGE[73].interval.low == 350
    assert charts.STAGE[78].interval.low == 800
    assert charts.STAGE[91].interval.middle == 95


@pytest.mark.parametrize("scheme", schemes.SCHEMES.values(), ids=schemes.SCHEMES)
def test_scheme_maps_both_ways(scheme):
    numbers = np.arange(len(scheme.classes))
    np.testing.assert_array_equal(scheme.to_classes(scheme.to_codes(numbers)), numbers)
    for number in numbers:
        assert scheme.class_of(scheme.code_of(int(number))) == number
    codes = [code for members in scheme.codes for code in members]
    assert len(codes) == len(set(codes))
    assert len(scheme.colours) == len(scheme.classes)
    assert scheme.to_classes([-9, 99, 1000]).tolist() == [255, 255, 255]
    assert scheme.to_codes([255]).tolist() == [99]
    for colour in scheme.colours:
        colours.to_rgb(colour)


def test_schemes_convert_to_coarser_ones_only():
    assert SOD.convert([0, 1, 2, 3, 5, 255], schemes.BINARY).tolist() == [
        *(0, 1, 1, 1, 1),
        255,
    ]
    assert SOD.convert([256, -1, 1000], schemes.BINARY).tolist() == [255] * 3
    wmo = schemes.WMO_STAGE
    young = wmo.class_of(84)
    assert wmo.convert([young], SOD).tolist() == [2]
    with pytest.raises(ValueError, match="must lie within one class"):
        schemes.BINARY.convert([1], SOD)
    with pytest.raises(ValueError, match="share one field"):
        SIC.convert([1], SOD)


def test_range_codes_become_classes_and_never_pass_through():
    # The published converter leaves CT=79 as label 79.
    assert labels.hard_label(egg(79, (79, 93, 5)), SIC) == (8, VoidReason.SCORED)
    for code in charts.CONCENTRATION:
        number, reason = labels.hard_label(egg(code), SIC)
        assert number <= 10 and reason == VoidReason.SCORED


def test_three_parts_of_one_class_add_up():
    # The published converter overwrites: 30 + 30 instead of 30 + 30 + 30.
    parts = egg(90, (30, 91, 5), (30, 93, 5), (30, 86, 4))
    assert labels.hard_label(parts, SOD, min_dominance=0.95)[0] == 4
    soft, _ = labels.soft_label(parts, SOD)
    np.testing.assert_allclose(soft, [0.1, 0, 0, 0, 0.9, 0], atol=1e-12)


def test_equal_parts_of_two_classes_have_no_dominant_one():
    parts = egg(80, (40, 95, 6), (40, 93, 6))
    assert labels.hard_label(parts, SOD) == (255, VoidReason.NO_DOMINANT)
    assert labels.hard_label(parts, FLOE) == (5, VoidReason.SCORED)
    soft, _ = labels.soft_label(parts, SOD)
    np.testing.assert_allclose(soft, [0.2, 0, 0, 0, 0.4, 0.4], atol=1e-12)


def test_fast_ice_voids_the_floe_size_only_where_it_dominates():
    little = egg(90, (80, 93, 5), (10, 87, 8))
    much = egg(90, (90, 93, 8))
    assert labels.hard_label(little, FLOE) == (4, VoidReason.SCORED)
    assert labels.hard_label(much, FLOE) == (255, VoidReason.NO_CLASS)
    assert labels.hard_label(much, SOD) == (4, VoidReason.SCORED)


def test_single_type_without_concentration_has_the_total():
    assert labels.hard_label(egg(90, (-9, 95, 5)), SOD) == (5, VoidReason.SCORED)
    two_open = egg(90, (-9, 95, 5), (-9, 93, 5))
    assert labels.hard_label(two_open, SOD) == (255, VoidReason.PARTS_MISSING)


def test_the_rest_of_the_total_belongs_to_cd():
    soft, _ = labels.soft_label(egg(90, (60, 95, 5), CD=87), SOD)
    np.testing.assert_allclose(soft, [0.1, 0, 0, 0.3, 0, 0.6], atol=1e-12)


def test_no_share_is_below_zero_where_the_tenths_are_all_ice():
    for first in range(1, 9):
        for second in range(1, 10 - first):
            parts = (10 * first, 95, 5), (10 * second, 93, 5)
            parts += ((10 * (10 - first - second), 83, 5),)
            soft, _ = labels.soft_label(egg(92, *parts), SOD)
            assert soft.min() >= 0.0 and soft.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("scheme", [SOD, schemes.FOUR_CLASS, schemes.WMO_STAGE])
@pytest.mark.parametrize("total", sorted(charts.CONCENTRATION))
def test_soft_labels_add_up_to_one(scheme, total):
    soft, reason = labels.soft_label(egg(total, (30, 95, 5), (13, 93, 4)), scheme)
    assert reason == VoidReason.SCORED
    assert soft.min() >= 0.0
    assert soft.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        (egg(-9, poly_type="L"), VoidReason.LAND),
        (egg(-9, poly_type="N"), VoidReason.NO_DATA),
        (egg(-9, poly_type="S"), VoidReason.ICE_SHELF),
        (egg(99), VoidReason.UNDETERMINED),
        (egg(77, (77, 95, 5)), VoidReason.UNKNOWN_CODE),
        (egg(90, (90, 99, 5)), VoidReason.UNDETERMINED),
        (egg(90, (90, 90, 5)), VoidReason.UNKNOWN_CODE),
        (egg(90, (90, 98, 10)), VoidReason.NO_CLASS),
        (egg(90), VoidReason.PARTS_MISSING),
    ],
)
def test_every_void_has_its_reason(polygon, reason):
    assert labels.hard_label(polygon, SOD) == (255, reason)
    soft, why = labels.soft_label(polygon, SOD)
    assert why == reason and np.isnan(soft).all()


@pytest.mark.parametrize(
    "polygon", [egg(0), egg(55), egg(98), egg(1), egg(2), egg(-9, poly_type="W")]
)
def test_water_is_class_zero_of_everything(polygon):
    for scheme in (SIC, SOD, FLOE, schemes.BINARY):
        assert labels.hard_label(polygon, scheme) == (0, VoidReason.SCORED)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        (egg(0), [1.0, 0.0]),
        (egg(1), [1.0, 0.0]),
        (egg(2, (-9, 99, -9)), [1.0, 0.0]),
        (egg(2, (-9, 83, 3)), [0.95, 0.05]),  # the middle of less than a tenth
    ],
)
def test_open_water_whose_ice_is_not_told_is_water(polygon, expected):
    soft, reason = labels.soft_label(polygon, schemes.BINARY)
    assert reason == VoidReason.SCORED
    np.testing.assert_allclose(soft, expected)


def test_three_ways_of_writing_one_egg():
    classic = egg("91", ("60", "95", "06"), ("30", "93", "05"), CN="97", CD="87")
    objects = charts.read_egg(
        {
            "POLY_TYPE": "I",
            "ICEACT": "91",
            "ICEAPC": "6030",
            "ICESOD": "979593bb87",
            "ICEFLZ": "0605",
        }
    )
    listed = charts.read_egg(
        {
            "iceact": "[91, 60, 30]",
            "icesod": "[95, 93]",
            "iceflz": "[6, 5]",
            "poly_type": "I",
        }
    )
    assert objects == classic
    assert (listed.total, listed.types) == (classic.total, classic.types)


@pytest.mark.parametrize("empty", [None, float("nan"), "", " ", "bb", "-9", -9, "XX"])
def test_empty_cells(empty):
    assert charts.read_code(empty) == charts.NULL


@pytest.mark.parametrize("cell", ["abc", 100, "-3", 4.5, "9 1"])
def test_cells_that_hold_no_code_are_refused(cell):
    with pytest.raises(ValueError, match="must be a number from 0 to 99"):
        charts.read_code(cell)


def test_a_table_without_chart_columns_is_refused():
    with pytest.raises(ValueError, match="CT, ICEACT or POLY_TYPE"):
        charts.read_egg({"NAME": "x"})


@pytest.mark.parametrize("min_dominance", [0.0, 1.01, float("nan")])
def test_dominance_out_of_range_is_refused(min_dominance):
    with pytest.raises(ValueError, match="`min_dominance`"):
        labels.hard_label(egg(90), SOD, min_dominance=min_dominance)


def test_colours():
    assert colours.concentration_colour(91) == "#ff0000"
    assert colours.stage_colour(95) == "#b46432"
    assert colours.stage_colour(99) == colours.UNDETERMINED_COLOUR
    assert colours.colormap(["#0064ff"])[0] == (0, 100, 255, 255)
    with pytest.raises(ValueError, match="#rrggbb"):
        colours.to_rgb("blue")
    assert set(charts.CONCENTRATION) == set(colours.CONCENTRATION_COLOURS)

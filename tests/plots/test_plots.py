import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from pyproj import CRS, Transformer

from arcticdl import plots
from arcticdl.plots import cartography
from arcticdl.plots.maps import class_rgb, composite_rgb

CLASSES = ("open_water", "young_ice", "old_ice")
COLORS = ("#96C8FF", "#AA28F0", "#B46432")


def make_scene(shape=(60, 80), crs=3413, resolution=200.0, x0=-5e5, y0=-1.2e6):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, shape).astype(np.uint8)
    label[:5] = 255
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), rng.normal(size=(3, *shape))),
            "valid": (("y", "x"), label != 255),
            "sod": (("y", "x"), label),
        },
        coords={
            "band": ["HH", "HV", "inc"],
            "x": x0 + resolution * np.arange(shape[1]),
            "y": y0 - resolution * np.arange(shape[0]),
        },
        attrs={"scene_id": "s1", "time": "2022-03-01T07:12:00"},
    )
    scene["sod"].attrs = {
        "flag_values": [0, 1, 2],
        "flag_meanings": " ".join(CLASSES),
        "flag_colors": " ".join(COLORS),
    }
    if crs:
        wkt = {"crs_wkt": CRS(crs).to_wkt()}
        scene = scene.assign_coords(spatial_ref=xr.DataArray(0, attrs=wkt))
    return scene


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def history(num_epochs=4):
    epoch = np.arange(num_epochs)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 1.0 / (epoch + 1),
            "val_loss": 1.2 / (epoch + 1),
            "mean_iou": 0.2 * epoch,
            "val_mean_iou": 0.1 * epoch,
            "learning_rate": 10.0 ** -(3 + epoch),
        }
    )


def test_every_public_name_is_there_or_belongs_to_a_module_of_the_package():
    for name in plots.__all__:
        assert callable(getattr(plots, name))
    with pytest.raises(AttributeError, match=r"attribute '?pie"):
        _ = plots.pie


def test_classes_take_their_colours_and_void_is_grey():
    picture = class_rgb(np.array([[0, 2], [255, 1]]), COLORS)
    for (row, column), color in (
        ((0, 0), COLORS[0]),
        ((0, 1), COLORS[2]),
        ((1, 1), COLORS[1]),
        ((1, 0), "#c8c8c8"),
    ):
        assert np.allclose(picture[row, column] / 255, to_rgb(color), atol=1e-6)


def test_a_code_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match=r"below 3 or void \(255\). Received: \[7\]"):
        plots.class_map(np.array([[0, 7]]), CLASSES)
    with pytest.raises(ValueError, match="integer map"):
        plots.class_map(np.zeros((2, 2)), CLASSES)


def test_legend_names_the_classes_and_void_where_there_is_any():
    assert "void" in texts(plots.class_map(np.array([[0, 255]]), CLASSES))
    shown = texts(plots.class_map(np.array([[0, 1]]), CLASSES, COLORS))
    assert "void" not in shown
    assert {"open water", "young ice", "old ice"} <= set(shown)


def test_composite_is_stretched_by_the_valid_pixels_only():
    band = np.linspace(0, 1, 100).reshape(10, 10)
    band[0, 0] = 1e9
    valid = np.ones((10, 10), bool)
    valid[0, 0] = False
    picture = composite_rgb(band, valid=valid, percentiles=(0, 100))
    assert tuple(picture[0, 0]) == (0xC8, 0xC8, 0xC8)
    assert picture[9, 9, 0] == 255 and picture[0, 1, 0] == 0
    nodata = np.full((4, 4, 3), np.nan)
    assert (composite_rgb(nodata) == 0xC8).all()
    assert composite_rgb(np.ones((4, 4, 1))).shape == (4, 4, 3)


def test_bands_are_chosen_by_name_and_radar_has_its_composite():
    scene = make_scene()
    by_default = composite_rgb(scene["image"])
    named = composite_rgb(scene["image"], ("HV", "HH", "HH"))
    assert (by_default == named).all()
    assert (by_default[..., 1] == by_default[..., 2]).all()
    by_position = composite_rgb(np.moveaxis(scene["image"].values, 0, -1), [1, 0, 0])
    assert (by_position == named).all()
    with pytest.raises(ValueError, match=r"among \['HH', 'HV', 'inc'\]"):
        composite_rgb(scene["image"], ["B8"])
    with pytest.raises(ValueError, match="one band"):
        composite_rgb(scene["image"], ["HH", "HV"])


def test_scale_bar_is_of_true_length_and_north_follows_the_meridian():
    # On the 45 W meridian of EPSG:3413, below the pole, north is up.
    scene = make_scene(shape=(101, 101), x0=-1e4, y0=-2e6)
    graticule = cartography.graticule_of(scene)
    figure = plots.scene_map(scene)
    bar = next(t for t in texts(figure) if t.endswith(" km"))
    assert bar == "5 km"
    lat = graticule.lat
    assert (np.diff(lat[:, 20]) < 0).all()
    assert abs(lat[0, 0] - lat[0, -1]) < 1e-3
    # 71 N lies near y = -2 067 km; 20 km of the grid are 20.0 km within 0.5 %.
    assert 70.5 < lat.mean() < 72.0


@pytest.mark.parametrize("crs", [3413, 3031, 32624, 4326, None])
def test_any_grid_is_drawn(crs, tmp_path):
    scene = make_scene(crs=crs)
    if crs == 4326:
        scene = make_scene(crs=crs, resolution=0.01, x0=-50.0, y0=75.0)
    if crs == 32624:
        scene = make_scene(crs=crs, resolution=20.0, x0=5e5, y0=7.5e6)
    path = plots.write_figure(plots.scene_map(scene, title="Map"), tmp_path / "m.png")
    assert path.stat().st_size > 5000
    shown = texts(plots.scene_map(scene))
    assert ("N" in shown) == (crs is not None)
    expected = f"EPSG:{crs}" if crs else "no georeference"
    assert any(expected in text for text in shown)


def test_swath_data_and_the_pole_and_the_dateline_are_drawn():
    scene = make_scene(crs=None)
    row, column = np.mgrid[0:60, 0:80]
    swath = scene.assign_coords(
        lat=(("y", "x"), 80.0 - 0.01 * row),
        lon=(("y", "x"), (179.0 + 0.03 * column + 180) % 360 - 180),
    )
    shown = texts(plots.scene_map(swath))
    assert {"180°", "179° E", "179° W"} <= set(shown)
    pole = make_scene(x0=-8e3, y0=6e3)
    assert "N" in texts(plots.scene_map(pole))


def test_a_large_scene_is_thinned_and_a_scene_without_label_is_an_image():
    big = make_scene(shape=(30, 2500))
    figure = plots.scene_map(big)
    assert max(figure.axes[0].images[0].get_array().shape[:2]) <= 1200
    assert len(plots.scene_map(big.drop_vars("sod")).axes) == 1
    only = plots.scene_map(big.drop_vars("image"), "sod", classes=CLASSES)
    assert len(only.axes) == 1


def test_a_scene_that_cannot_be_drawn_is_refused():
    scene = make_scene()
    with pytest.raises(ValueError, match=r"`label` must be among \['sod', 'valid'\]"):
        plots.scene_map(scene, "ice")
    with pytest.raises(ValueError, match="must hold `image` or a label"):
        plots.scene_map(scene[["valid"]])
    scene["sod"].attrs["flag_values"] = [1, 2, 4]
    with pytest.raises(ValueError, match="in order"):
        plots.scene_map(scene)


def test_a_flag_for_void_is_not_a_class():
    scene = make_scene()
    scene["sod"].attrs |= {
        "flag_values": [0, 1, 2, 255],
        "flag_meanings": " ".join([*CLASSES, "not_scored"]),
        "flag_colors": " ".join([*COLORS, "#ffffff"]),
    }
    shown = texts(plots.scene_map(scene))
    assert "void" in shown and "not scored" not in shown


def test_curves_draw_training_beside_validation(tmp_path):
    path = tmp_path / "history.csv"
    history().to_csv(path, index=False)
    for source in (path, history(), {k: list(v) for k, v in history().items()}):
        figure = plots.training_curves(source)
        titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
        assert titles == ["loss", "mean IoU", "learning rate"]
        solid, dashed = figure.axes[0].lines[1], figure.axes[0].lines[0]
        assert np.allclose(solid.get_ydata(), history()["val_loss"])
        assert dashed.get_linestyle() == "--"
    folds = plots.training_curves({"fold 0": path, "fold 1": history()}, ["loss"])
    assert len(folds.axes) == 1 and len(folds.axes[0].lines) == 4


def test_one_epoch_shows_as_points():
    lines = plots.training_curves(history(1)).axes[0].lines
    assert all(line.get_marker() == "o" for line in lines)


def test_a_lone_epoch_has_an_axis_around_it_and_from_zero():
    ax = plots.training_curves({"loss": [1.0]}).axes[0]
    assert ax.get_xticks().tolist() == [1.0] and ax.get_xlim() == (0.5, 1.5)
    assert ax.get_ylim() == (0.0, 1.25)


def test_quantities_are_named_with_whether_any_was_validated():
    assert plots.training_quantities(history()) == (
        ["loss", "mean_iou", "learning_rate"],
        True,
    )
    assert plots.training_quantities({"loss": [1.0]}) == (["loss"], False)


def test_histories_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        plots.training_curves(tmp_path / "absent.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(ValueError, match="table of epochs"):
        plots.training_curves(empty)
    empty.write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.training_curves(empty)
    with pytest.raises(ValueError, match=r"among \['learning_rate', 'loss'"):
        plots.training_curves(history(), ["los"])


def test_confusion_shows_rows_that_add_up_to_one():
    cm = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
    shown = texts(plots.confusion(cm, CLASSES))
    assert shown.count("0.75") == 1 and shown.count("0.50") == 2
    assert shown.count("–") == 3
    assert "6" in texts(plots.confusion(cm, CLASSES, normalize=False))
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        plots.confusion(cm[:2], CLASSES)


def test_bars_and_reliability_tell_their_numbers():
    bars = plots.baseline_bars(
        {"ours": {"value": 0.8, "low": 0.7, "high": 0.9}, "majority": {"value": 0.1}}
    )
    assert {"0.800", "0.100", "ours", "majority"} <= set(texts(bars))
    bins = [
        {"count": 0, "mean_confidence": None, "accuracy": None},
        {"count": 9, "mean_confidence": 0.9, "accuracy": 0.5},
    ]
    figure = plots.reliability({"ece": 0.4, "bins": bins})
    assert any("0.400" in text for text in texts(figure))


def test_figures_draw_into_given_axes():
    ax = plots.new_figure().add_subplot()
    assert plots.class_map(np.zeros((2, 2), int), CLASSES, ax=ax) is ax.figure
    assert plots.confusion(np.eye(3), CLASSES, ax) is ax.figure


def test_figures_leave_no_trace_in_pyplot_and_show_themselves():
    import matplotlib.pyplot as plt

    figure = plots.training_curves(history())
    assert plt.get_fignums() == []
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert matplotlib.rcParams["svg.fonttype"] == "path"


def test_svg_takes_the_colour_of_its_page_and_is_reproducible():
    svg = plots.figure_svg(plots.training_curves(history()))
    assert svg.startswith("<svg") and "currentColor" in svg
    assert "#1b1f23" not in svg and "<text" in svg
    assert plots.figure_svg(plots.training_curves(history())) == svg
    assert not re.search(r"(href|src)=\"(?!#)", svg)


def test_a_figure_is_written_whole_or_not_at_all(tmp_path):
    figure = plots.new_figure()
    assert plots.write_figure(figure, tmp_path / "a.svg").is_file()
    with pytest.raises(ValueError, match="must end with one of"):
        plots.write_figure(figure, tmp_path / "a.xyz")
    with pytest.raises(FileNotFoundError):
        plots.write_figure(figure, tmp_path / "absent" / "a.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.svg"]


def test_default_colours_are_distinct_however_many():
    for count in (1, 8, 20):
        assert len(set(plots.default_colors(count))) == count
    with pytest.raises(ValueError, match="at least 1"):
        plots.default_colors(0)
    with pytest.raises(ValueError, match="must be colours"):
        plots.class_map(np.zeros((1, 1), int), CLASSES, ["red", "green", "nocolour"])


def test_degrees_of_neighbouring_lines_differ():
    """Twentieths of a degree, beyond 100 degrees."""
    lines = [cartography._degrees(-139.05 - step / 20, ("W", "E")) for step in range(4)]
    assert lines == ["139.05° W", "139.1° W", "139.15° W", "139.2° W"]


def test_degrees_stand_at_the_edges_where_the_lines_meet_them():
    # Northings of a UTM grid: near the central meridian 1 degree is about 111 km.
    scene = make_scene(crs=32624, shape=(60, 60), resolution=5e3, x0=3.5e5, y0=7.9e6)
    ax = plots.scene_map(scene).axes[0]
    ax.figure.canvas.draw()
    named = {t.get_text(): t.get_position()[1] for t in ax.get_yticklabels()}
    assert named and all(name.endswith("° N") for name in named)
    transform = Transformer.from_crs(32624, 4326, always_xy=True)
    for name, row in named.items():
        _, lat = transform.transform(float(scene["x"][0]), 7.9e6 - 5e3 * row)
        assert abs(lat - float(name.removesuffix("° N"))) < 0.02
    assert all(t.get_text().endswith("° W") for t in ax.get_xticklabels())
    assert not any("°" in text.get_text() for text in ax.texts)


def test_keras_histories_count_epochs_from_1_and_the_legend_is_off_the_curves():
    figure = plots.training_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2]
    assert figure.axes[0].get_legend() is None and len(figure.legends) == 1


def test_first_year_ice_is_spelled_with_its_hyphen():
    shown = texts(plots.class_map(np.array([[0]]), ["thin_first_year_ice"]))
    assert "thin first-year ice" in shown

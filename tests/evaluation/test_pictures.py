import json

import numpy as np
import pytest
from fake_run import COLORS
from PIL import Image

from arcticdl.evaluation.pictures import TilePictures, paint_classes


def offer(pictures, score, name=None):
    label = np.zeros((20, 30), np.uint8)
    label[:, :3] = 255
    shown = np.zeros((20, 30), np.uint8)
    shown[:, 20:] = 1
    image = np.linspace(0, 1, 600).reshape(20, 30, 1)
    pictures.add(name or f"tile {score}", score, image, label, shown)


def test_the_worst_and_the_best_are_kept_in_order(tmp_path):
    pictures = TilePictures(paint_classes(COLORS), num_worst=3, num_best=2)
    for score in np.random.default_rng(0).permutation(20) / 20:
        offer(pictures, float(score))
    entries = pictures.write(tmp_path)
    assert [e["score"] for e in entries] == [0.0, 0.05, 0.1, 0.95, 0.9]
    assert [e["kind"] for e in entries] == ["worst"] * 3 + ["best"] * 2
    assert json.loads((tmp_path / "pictures.json").read_text()) == entries
    assert all((tmp_path / e["file"]).is_file() for e in entries)


def test_few_tiles_stand_under_one_heading_only(tmp_path):
    pictures = TilePictures(paint_classes(COLORS), num_worst=8, num_best=4)
    for score in (0.1, 0.5, 0.9):
        offer(pictures, score)
    names = [entry["image_id"] for entry in pictures.write(tmp_path)]
    assert names == ["tile 0.1", "tile 0.5", "tile 0.9"]


def test_equal_scores_keep_the_first_come(tmp_path):
    pictures = TilePictures(paint_classes(COLORS), num_worst=2, num_best=0)
    for name in "abcd":
        offer(pictures, 0.5, name)
    assert [e["image_id"] for e in pictures.write(tmp_path)] == ["a", "b"]


def test_panels_show_class_colours_and_errors(tmp_path):
    pictures = TilePictures(paint_classes(COLORS))
    offer(pictures, 0.5)
    (entry,) = pictures.write(tmp_path)
    with Image.open(tmp_path / entry["file"]) as file:
        picture = np.asarray(file.convert("RGBA"))
    gap = 2
    assert picture.shape == (20, 4 * 30 + 3 * gap, 4)
    label, prediction, errors = (picture[:, k * 32 : k * 32 + 30] for k in (1, 2, 3))
    assert tuple(label[0, 10, :3]) == (0x96, 0xC8, 0xFF)
    assert tuple(prediction[0, 25, :3]) == (0xAA, 0x28, 0xF0)
    assert tuple(errors[0, 25, :3]) == (0xD5, 0x5E, 0x00)
    assert tuple(errors[0, 1, :3]) == tuple(label[0, 1, :3]) == (0xC8, 0xC8, 0xC8)


def test_large_tiles_become_small_pictures(tmp_path):
    pictures = TilePictures(paint_classes(COLORS), max_side_px=50)
    label = np.zeros((120, 200), np.uint8)
    pictures.add("big", 1.0, np.zeros((120, 200, 3)), label, label)
    (entry,) = pictures.write(tmp_path)
    with Image.open(tmp_path / entry["file"]) as file:
        assert file.size == (4 * 50 + 3 * 2, 30)


def test_an_earlier_evaluation_leaves_no_picture_behind(tmp_path):
    (tmp_path / "worst_01_old.png").touch()
    pictures = TilePictures(paint_classes(COLORS))
    offer(pictures, 0.5, "scene/a b")
    (entry,) = pictures.write(tmp_path)
    assert entry["file"] == "worst_01_scene_a_b.png"
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [entry["file"]]


def test_a_code_that_is_no_class_is_refused():
    pictures = TilePictures(paint_classes(COLORS))
    label = np.full((4, 4), 9, np.uint8)
    with pytest.raises(ValueError, match="below 3 or void"):
        pictures.add("a", 0.0, np.zeros((4, 4, 1)), label, label)

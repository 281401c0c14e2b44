import hashlib
import json
import shutil
from html.parser import HTMLParser

import pytest
from fake_run import write_fake_run

from arcticdl import evaluation
from arcticdl.evaluation.run_folder import NETWORKS_TAG, read_run


class Page(HTMLParser):
    """Collects what a page links to, its ids, text, and unclosed elements."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.open, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [
            v for k, v in attrs.items() if k in ("src", "href", "xlink:href")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_fake_run(tmp_path_factory.mktemp("runs") / "fake_run")


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def read(path):
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_report_says_what_the_loss_curves_say_and_what_to_try(copy):
    rows = [f"{n},{2 * 0.8**n},{0.5 + abs(n - 6) / 20}" for n in range(20)]
    history = "epoch,loss,val_loss\n" + "\n".join(rows) + "\n"
    (copy / "fold0/history.csv").write_text(history)
    (copy / "fold1/history.csv").write_text("epoch,mean_iou\n1,0.5\n")
    _, page = read(evaluation.write_report(copy))
    text = " ".join(" ".join(page.text).split())
    assert "What the loss curves say fold 0: overfitting Since epoch 6" in text
    assert "To try: Stop early and keep the best epoch" in text
    assert "fold 1:" not in text


def test_report_is_whole_and_needs_nothing_from_outside(run):
    path = evaluation.write_report(run)
    assert path == run / "report.html"
    text, page = read(path)
    assert page.open == []
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert "@import" not in text and "url(http" not in text and "<script" not in text
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert set(inner) <= set(page.ids)
    sections = {"baselines", "classes", "confusion", "training", "reliability"}
    assert sections | {"tiles", "map", "images", "again"} <= set(page.ids)
    assert 'class="note"' not in text


def test_report_states_the_pooled_scores(run):
    folds = [json.loads((run / f"fold{k}/metrics.json").read_text()) for k in (0, 1)]
    pooled = evaluation.pool_folds(folds)
    words = " ".join(read(evaluation.write_report(run))[1].text)
    assert f"{pooled['scores']['mean_iou']:.3f}" in words
    low, high = pooled["intervals"]["mean_iou"]
    assert f"{low:.3f} to {high:.3f}" in words
    assert pooled["pooled"] in words
    by_fold = {name: e["median"] for name, e in folds[1]["extra"].items()}
    assert by_fold and pooled["folds"][1]["extra"] == by_fold
    assert all(f"{m:.2f}" in words for m in by_fold.values())
    margin = pooled["scores"]["mean_iou"]
    margin -= pooled["baselines"]["majority"]["scores"]["mean_iou"]
    assert f"{margin:.3f} above" in words
    assert "arcticdl train configs/fake.yaml" in words
    assert "2 of 6 images without one" in words


def test_report_says_of_all_methods_only_what_holds_of_all(run):
    """A ceiling is fitted to nothing, and a filter has nothing to fit."""
    words = " ".join(" ".join(read(evaluation.write_report(run))[1].text).split())
    assert "held-out images; what is fitted was fitted on the same training" in words


def test_same_run_gives_the_same_report(run):
    first = evaluation.write_report(run).read_bytes()
    assert evaluation.write_report(run).read_bytes() == first


def test_a_single_held_out_image_has_scores_but_no_interval(tmp_path):
    run = write_fake_run(tmp_path / "run", num_folds=1, num_images=1)
    text, page = read(evaluation.write_report(run))
    assert "no interval: needs two images or more" in text
    assert page.open == [] and 'class="note"' not in text


def test_a_summary_in_the_folder_is_taken_as_it_is(copy):
    result = json.loads((copy / "fold0/metrics.json").read_text())
    result["pooled"] = "Pooled by hand."
    (copy / "summary.json").write_text(json.dumps(result))
    assert "Pooled by hand." in read(evaluation.write_report(copy))[0]


@pytest.mark.parametrize(
    "part, contents, note",
    [
        ("fold0/metrics.json", None, "fold0/metrics.json is missing"),
        ("fold0/metrics.json", "{", "fold0/metrics.json is not valid JSON"),
        ("fold0/metrics.json", "{}", "it lacks"),
        ("fold0/history.csv", None, "fold0/history.csv is missing"),
        ("fold0/history.csv", "", "training curves cannot be drawn"),
        ("environment.json", "[", "environment.json is not valid JSON"),
        ("config.yaml", None, "config.yaml is missing"),
        ("fold0/pictures/pictures.json", "x", "pictures.json is not valid JSON"),
    ],
)
def test_a_missing_or_broken_part_leaves_a_note(copy, part, contents, note):
    if contents is None:
        (copy / part).unlink()
    else:
        (copy / part).write_text(contents)
    _, page = read(evaluation.write_report(copy))
    assert note in " ".join(page.text)
    assert page.open == []


def test_a_run_without_evaluation_says_how_to_make_one(copy):
    for fold in (0, 1):
        (copy / f"fold{fold}/metrics.json").unlink()
    text, page = read(evaluation.write_report(copy))
    assert "No evaluation to show" in text
    assert "training" in page.ids and "classes" not in page.ids


def test_names_from_files_cannot_write_into_the_page(copy):
    (copy / "config.yaml").write_text("name: <script>alert(1)</script>\n")
    assert "<script" not in read(evaluation.write_report(copy))[0]


def test_many_maps_and_tiles_do_not_swell_the_page(copy):
    (copy / "maps").mkdir()
    for number in range(9):
        shutil.copy(copy / "map.png", copy / "maps" / f"scene_{number}.png")
    listing = copy / "fold0/pictures/pictures.json"
    entries = json.loads(listing.read_text())
    listing.write_text(json.dumps(10 * entries))
    text, page = read(evaluation.write_report(copy))
    assert "4 more in the run" in text
    # Maps, worst and best tiles, and four panels of the worst and the median scene.
    assert sum(link.startswith("data:") for link in page.links) == 6 + 8 + 4 + 8


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        evaluation.write_report(tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds \['notes.txt'\]"):
        evaluation.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_class_without_a_true_pixel_is_warned_of(copy):
    result = json.loads((copy / "fold0/metrics.json").read_text())
    result["scores"]["per_class"]["old_ice"] |= {"support": 0, "recall": None}
    (copy / "summary.json").write_text(json.dumps(result))
    words = " ".join(" ".join(read(evaluation.write_report(copy))[1].text).split())
    assert "No scored pixel is truly old ice:" in words


def test_a_validation_curve_is_promised_only_where_one_is_drawn(copy):
    told = "solid: validation tiles"
    assert told in read(evaluation.write_report(copy))[0]
    for fold in (0, 1):
        (copy / f"fold{fold}/history.csv").write_text("epoch,loss\n1,1.0\n")
    text, page = read(evaluation.write_report(copy))
    assert told not in text and "No validation tiles were kept" in text
    assert page.open == [] and "0.945" not in text


def test_every_cell_of_a_table_says_on_a_phone_what_it_is(run):
    text = read(evaluation.write_report(run))[0]
    tables = [t for t in text.split("<table")[1:] if t.startswith(' class="')]
    stacked = [t.split("</table>")[0] for t in tables if "stack" in t.split(">")[0]]
    assert len(stacked) == 6
    for table in stacked:
        body = table.split("<tbody>")[1]
        assert body.count("<td") == body.count("<td data-label=") > 0


def test_maps_are_shown_whose_networks_are_still_in_the_run(copy):
    (copy / "maps").mkdir()
    for name in ("fold", "joined", "replaced", "listed"):
        shutil.copy(copy / "map.png", copy / "maps" / f"{name}.png")
    (copy / "fold0/model.keras").write_bytes(b"a fold's")
    (copy / "ensemble.keras").write_bytes(b"of both folds")
    made = {
        "fold": b"a fold's",
        "joined": b"of both folds",
        "replaced": b"of before",
    }
    for name, network in made.items():
        told = {NETWORKS_TAG: hashlib.sha256(network).hexdigest()[:16]}
        (copy / f"maps/{name}.json").write_text(json.dumps(told))
    (copy / "maps/listed.json").write_text("[1, 2]")  # a file of the user's own
    found = read_run(copy)
    assert [path.stem for path in found.maps] == ["map", "fold", "joined", "listed"]
    (note,) = (text for text in found.notes if "are not shown" in text)
    assert "1 of 5 maps, such as maps/replaced.png" in note

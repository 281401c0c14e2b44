"""Reading checkpoints safely; finding architecture and prefix; reports; refusals."""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from torch_recipe import make_image, make_state

from arcticdl.errors import WeightsError
from arcticdl.models.convert.checkpoint import read_checkpoint
from arcticdl.models.convert.families import convert_state
from arcticdl.models.convert.sidecar import convert, read_sidecar, verify

REFERENCE = pathlib.Path(__file__).parents[1] / "reference"


class Evil:
    """Would create a file if its pickle were run."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Stateful:
    """Would be made, and its state set, if its pickle were run."""

    def __init__(self):
        self.value = 1


def write_zip(path, program, data=b"", method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", data)


@pytest.mark.parametrize("name", ["small_zip.pth", "small_stream.pth"])
def test_files_of_pytorch_are_read_value_by_value(name):
    expected = np.load(REFERENCE / "small.npz")
    content = read_checkpoint(REFERENCE / name)
    assert (content["epoch"], content["name"], content["best"]) == (3, "small", 0.25)
    assert set(content["state_dict"]) == set(expected)
    for key, value in content["state_dict"].items():
        assert value.shape == expected[key].shape
        np.testing.assert_array_equal(value.astype(expected[key].dtype), expected[key])


def test_safetensors_are_read_value_by_value():
    expected = np.load(REFERENCE / "small.npz")
    content = read_checkpoint(REFERENCE / "small.safetensors")
    assert set(content) == set(expected)
    for key, value in content.items():
        np.testing.assert_array_equal(value.astype(expected[key].dtype), expected[key])


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    target = tmp_path / "made"
    for protocol in (0, 1, 2, 4):
        program = pickle.dumps({"state_dict": Evil(target)}, protocol)
        write_zip(tmp_path / "evil.pth", program)
        with pytest.raises(WeightsError, match=r"executed"):
            read_checkpoint(tmp_path / "evil.pth")
        (tmp_path / "evil.th").write_bytes(program)
        with pytest.raises(WeightsError):
            read_checkpoint(tmp_path / "evil.th")
    assert not target.exists()


def test_classes_and_odd_instructions_are_refused(tmp_path):
    programs = [
        pickle.dumps({"a": Stateful()}, 2),
        pickle.dumps({"a": {1, 2}}, 4),
        pickle.dumps({"a": bytearray(b"x")}, 5),
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a call of what is no function
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02]}b.",  # state for a list
    ]
    for program in programs:
        write_zip(tmp_path / "odd.pth", program)
        with pytest.raises(WeightsError):
            read_checkpoint(tmp_path / "odd.pth")


def tensor_program(offset, size, stride, count=4):
    """A dict with one tensor, as PyTorch would write it."""

    def numbers(values):
        return (
            b"("
            + b"".join(b"J" + v.to_bytes(4, "little", signed=True) for v in values)
            + b"t"
        )

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += b"J" + count.to_bytes(4, "little") + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    tensor += b"J" + offset.to_bytes(4, "little", signed=True)
    tensor += numbers(size) + numbers(stride) + b"\x89}tR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s."


def test_tensors_must_lie_inside_their_storage(tmp_path):
    path, data = tmp_path / "t.pth", np.arange(4, dtype="float32").tobytes()
    write_zip(path, tensor_program(1, (3,), (1,)), data)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [1.0, 2.0, 3.0])
    for offset, size, stride, count in [
        (2, (3,), (1,), 4),
        (0, (2, 3), (3, 1), 4),
        (-1, (2,), (1,), 4),
        (0, (2,), (-1,), 4),
        (0, (4,), (1,), 1000),
    ]:
        write_zip(path, tensor_program(offset, size, stride, count), data)
        with pytest.raises(WeightsError, match="must"):
            read_checkpoint(path)
    write_zip(path, tensor_program(0, (4,), (1,)), data, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="uncompressed"):
        read_checkpoint(path)


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


# t0 = [1]; t1 = (t0, t0); t2 = (t1, t1) ...: written out, 2**60 numbers.
LAUGHS = b"]K\x01a" + b"".join(
    b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60)
)


def nested(depth):
    return b")" + b"\x85" * depth  # a tuple in a tuple in a tuple ...


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02}" + nested(100_000) + b"K\x01s.", "a tuple as a key"),
        (b"\x80\x02}" + text("a") + nested(100_000) + b"s.", "RecursionError"),
        (b"\x80\x04" + text("torch") + LAUGHS + b"\x93.", "a tuple as a name"),
        (b"\x80\x02}" + text("a") + b"(" + b"N0" * 2_000_000, "instruction"),
        (b"\x80\x02(" + b"N" * 2_000_001, "2000000 instructions"),
        (b"\x80\x02\x8d" + (3 << 30).to_bytes(8, "little"), "67108864 bytes"),
        (b"\x80\x02]" + b"h\x00", "KeyError"),
    ],
    ids=["deep key", "deep value", "name", "not ours", "long", "long text", "no memo"],
)
def test_programs_that_would_not_end_are_refused(program, message, tmp_path):
    write_zip(tmp_path / "bomb.pth", program)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "bomb.pth")


def test_shared_parts_are_resolved_once(tmp_path):
    program = b"\x80\x02}" + text("epoch") + LAUGHS + b"s."
    write_zip(tmp_path / "laughs.pth", program)
    value = read_checkpoint(tmp_path / "laughs.pth")["epoch"]
    for _ in range(60):
        assert len(value) == 2 and value[0] is value[1]
        value = value[0]
    assert value == [1]


@pytest.mark.parametrize("size", [(30_000, 30_000), (1 << 30, 1 << 30)])
def test_one_value_does_not_fill_the_memory(size, tmp_path):
    stride = (0, 0)
    write_zip(tmp_path / "t.pth", tensor_program(0, size, stride, 1), b"\0" * 4)
    with pytest.raises(WeightsError, match="must be in the file"):
        read_checkpoint(tmp_path / "t.pth")


def test_tied_tensors_share_their_storage_as_pytorch_lets_them(tmp_path):
    data = np.arange(400, dtype="float32").tobytes()
    one = tensor_program(0, (400,), (1,), 400)[2 + 1 + 6 : -2]
    program = b"\x80\x02}" + text("a") + one + b"s" + text("b") + one + b"s."
    write_zip(tmp_path / "tied.pth", program, data)
    content = read_checkpoint(tmp_path / "tied.pth")
    np.testing.assert_array_equal(content["a"], np.arange(400))
    np.testing.assert_array_equal(content["a"], content["b"])


@pytest.mark.parametrize("kind", ["stream", "text", "safetensors", "packed"])
def test_a_file_of_3_gb_is_refused_in_bounded_memory_and_time(kind, tmp_path):
    path = tmp_path / ("big.safetensors" if kind == "safetensors" else "big.pth")
    start = {
        "stream": b"\x80\x02\x8d" + (3 << 30).to_bytes(8, "little"),
        "text": b"\x80\x02S'",
        "safetensors": (2 << 30).to_bytes(8, "little"),
    }
    if kind == "packed":
        write_zip(path, bytes(200_000_000), method=zipfile.ZIP_DEFLATED)
    else:
        path.write_bytes(start[kind])
        os.truncate(path, 3 << 30)
    code = (
        "import resource, sys\n"
        "from arcticdl.models.convert.checkpoint import read_checkpoint\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_checkpoint(sys.argv[1])\n"
        "except ValueError as error:\n    print(type(error).__name__, error)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert after - before < 200_000, after - before"  # kB
    )
    found = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=20
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("WeightsError")


@pytest.mark.parametrize("name", ["small_zip.pth", "small_stream.pth"])
@pytest.mark.parametrize("size", [0, 10, 300, 1200])
def test_truncated_files_are_refused(tmp_path, name, size):
    path = tmp_path / name
    path.write_bytes((REFERENCE / name).read_bytes()[:size])
    with pytest.raises(WeightsError):
        read_checkpoint(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.pth")
    for name, data in [
        ("text.pth", b"hello"),
        ("list.pth", pickle.dumps([1])),
        ("short.safetensors", (10**9).to_bytes(8, "little") + b"{}"),
        ("bad.safetensors", (2).to_bytes(8, "little") + b"xx"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError):
            read_checkpoint(tmp_path / name)


@pytest.fixture
def swin_state():
    stored = np.load(REFERENCE / "swin.npz")
    return make_state(json.loads(str(stored["shapes_2"])))


def with_prefix(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda s: s, ""),
        (lambda s: {"state_dict": with_prefix(s, "module.")}, "module."),
        (lambda s: {"model": with_prefix(s, "backbone."), "epoch": 1}, "backbone."),
        (
            lambda s: {
                "state_dict": {
                    **with_prefix(s, "model.encoder_q."),
                    **with_prefix(s, "model.encoder_k."),
                    "model.queue": np.zeros((4, 4), "float32"),
                },
                "pytorch-lightning_version": "2.0",
            },
            "model.encoder_q.",
        ),
    ],
)
def test_wrappers_are_taken_off(swin_state, wrap, prefix):
    result = convert_state(wrap(swin_state))
    assert result.report.prefix == prefix
    assert len(result.report.used) == len(swin_state) - 0
    image = make_image(2, 20, 20)
    plain = convert_state(swin_state).model(image)["P5"]
    np.testing.assert_array_equal(result.model(image)["P5"], plain)


def test_several_networks_need_a_choice(swin_state):
    both = with_prefix(swin_state, "a.") | with_prefix(swin_state, "b.")
    with pytest.raises(WeightsError, match=r"'a\.', 'b\.'"):
        convert_state(both)
    assert convert_state(both, prefix="b.").report.prefix == "b."


def test_a_partial_match_is_refused_unless_told(swin_state):
    key = "features.3.1.mlp.0.weight"
    short = {k: v for k, v in swin_state.items() if k != key}
    with pytest.raises(WeightsError, match="1 keys missing"):
        convert_state(short)
    report = convert_state(short, allow_partial=True).report
    assert report.missing == (key,) and f"missing {key}" in str(report)
    longer = {**swin_state, "features.9.weight": np.zeros(3, "float32")}
    with pytest.raises(WeightsError, match="1 unused"):
        convert_state(longer)
    head = {**swin_state, "head.weight": np.zeros((5, 32), "float32")}
    assert convert_state(head).report.unused == ("head.weight",)


def test_a_wrong_shape_changes_nothing(swin_state):
    wrong = {**swin_state, "features.0.2.bias": np.zeros(9, "float32")}
    with pytest.raises(WeightsError, match=r"features\.0\.2\.bias.*\(9,\)"):
        convert_state(wrong, allow_partial=True)


def test_other_architectures_are_refused(swin_state):
    with pytest.raises(WeightsError, match="must be one of"):
        convert_state({"conv.weight": np.zeros((3, 3), "float32")})
    with pytest.raises(WeightsError, match="tensors by name"):
        convert_state({"epoch": 3})
    with pytest.raises(WeightsError, match=r"\['resnet'\]"):
        convert_state(swin_state, family="resnet")
    with pytest.raises(ValueError, match="Did you mean 'resnet'"):
        convert_state(swin_state, family="resnets")
    odd = {"layer4.0.conv1.weight": np.zeros((8, 8, 3, 3), "float32")}
    with pytest.raises(WeightsError, match="plain 7 x 7 stem"):
        convert_state(odd)


def test_convert_writes_weights_and_a_sidecar(swin_state, tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    path.write_bytes(b"x")
    monkeypatch.setattr(
        "arcticdl.models.convert.sidecar.read_checkpoint", lambda _: swin_state
    )
    out, report = convert(path, bands=["VH", "VV"], licence="CC0-1.0")
    assert out == tmp_path / "net.weights.h5"
    card = verify(out)
    assert card["bands"] == ["sentinel1:VH", "sentinel1:VV"]
    assert (card["num_bands"], card["task"]) == (2, "features")
    assert card["report"]["used"] == list(report.used)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "net.json",
        "net.pth",
        "net.weights.h5",
    ]
    with pytest.raises(ValueError, match="1 names for 2 bands"):
        convert(path, bands=["VH"])
    with pytest.raises(ValueError, match="`out` must end"):
        convert(path, tmp_path / "net.h5")
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(WeightsError, match="sidecar"):
        read_sidecar(out)

"""A stack machine for the harmless part of the pickle language.

It imports nothing, calls nothing but the functions it is given, stops at every
instruction outside its table, and after a bounded number of bytes and steps.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from arcticdl.errors import WeightsError

MAX_BYTES = 1 << 26
"""Longest program in bytes: that of a checkpoint names its tensors and holds none of
their values; ten thousand tensors take about 2 MB."""

MAX_STEPS = 2_000_000
"""Most instructions of a program: about thirty a tensor, run in some seconds."""

_MARK = object()
_KEYS = (str, int, float, type(None))


@dataclass(frozen=True)
class Names:
    """The names that a program may use.

    Attributes:
        values: ``(module, name)`` -> what it stands for.
        functions: ``(module, name)`` -> the function called in its place.
    """

    values: dict[tuple[str, str], Any]
    functions: dict[tuple[str, str], Callable[..., Any]]


@dataclass(frozen=True)
class _Function:
    """An allowed function on the stack: a label, never the function itself."""

    key: tuple[str, str]


class Machine:
    """Runs a pickle program of dicts, lists, tuples, plain values and tensors.

    Args:
        names: The names that the program may use.
        storage: Called with each persistent identity, the tuple by which PyTorch
            refers to a tensor's bytes.
    """

    def __init__(self, names: Names, storage: Callable[[tuple], Any]) -> None:
        self._names, self._storage = names, storage
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """Runs one program and leaves the file behind its last byte.

        Raises:
            WeightsError: An instruction or a name that is not allowed.
        """
        self._stack, self._memo = [], {}
        program: Any = _Bounded(file)
        for step, (opcode, argument, _) in enumerate(pickletools.genops(program)):
            if step == MAX_STEPS:
                raise _too_long(f"more than {MAX_STEPS} instructions")
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self._stack.append(argument)
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in ("FRAME", "PROTO"):
                raise _refusal(f"the pickle instruction {name}")
        raise WeightsError("A pickle program must end. Received: a truncated file.")

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _tuple_of(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _set_items(self, _: Any) -> None:
        items = self._since_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        # To hash a tuple of tuples of tuples ... overflows the stack of C.
        if not isinstance(key, _KEYS):
            raise _refusal(f"a {type(key).__name__} as a key")
        self._target(dict)[key] = value

    def _appends(self, _: Any) -> None:
        items = self._since_mark()
        self._target(list).extend(items)

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._target(list).append(item)

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _refusal(f"a change of a {type(self._stack[-1]).__name__}")
        return self._stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_name(module, name)

    def _push_name(self, module: Any, name: Any) -> None:
        # Nothing but text is asked for its text, which of shared lists has no end.
        if not isinstance(module, str) or not isinstance(name, str):
            raise _refusal(f"a {type(name).__name__} as a name")
        key = (module, name)
        if key in self._names.functions:
            self._stack.append(_Function(key))
        elif key in self._names.values:
            self._stack.append(self._names.values[key])
        else:
            raise _refusal(f"the name {module}.{name}")

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Function) or not isinstance(arguments, tuple):
            raise _refusal(f"a call of {type(function).__name__}")
        self._stack.append(self._names.functions[function.key](*arguments))

    def _build(self, _: Any) -> None:
        # PyTorch hangs layer versions on its ordered dicts; they are not needed.
        self._stack.pop()
        self._target(dict)

    def _persistent(self, _: Any) -> None:
        identity = self._stack.pop()
        known = isinstance(identity, tuple) and len(identity) >= 5
        if not known or not isinstance(identity[2], _KEYS):
            raise _refusal("an unknown reference")
        self._stack.append(self._storage(identity))


class _Bounded:
    """The next bytes of a file, as many as a program may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MAX_BYTES

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise _too_long(f"more than {MAX_BYTES} bytes")
        self._left -= size
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(self._left + 1)
        if len(line) > self._left:
            raise _too_long(f"more than {MAX_BYTES} bytes")
        self._left -= len(line)
        return line


def _too_long(what: str) -> WeightsError:
    return WeightsError(
        "A checkpoint's program must be short: it names tensors and plain values. "
        f"Received: {what}. Save `model.state_dict()` alone, or a .safetensors file."
    )


def _refusal(what: str) -> WeightsError:
    return WeightsError(
        "A checkpoint must hold tensors and plain values only; nothing in it is "
        f"executed. Received: {what}. In PyTorch, save `model.state_dict()` alone, "
        "or write a .safetensors file."
    )


_CONSTANTS: dict[str, Any] = {
    "EMPTY_TUPLE": (),
    "NEWFALSE": False,
    "NEWTRUE": True,
    "NONE": None,
}
_LITERALS = {
    "BINFLOAT",
    "BININT",
    "BININT1",
    "BININT2",
    "BINSTRING",
    "BINUNICODE",
    "BINUNICODE8",
    "LONG1",
    "LONG4",
    "SHORT_BINSTRING",
    "SHORT_BINUNICODE",
}
_ACTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "BINGET": Machine._get,
    "BINPERSID": Machine._persistent,
    "BINPUT": Machine._put,
    "BUILD": Machine._build,
    "EMPTY_DICT": Machine._empty_dict,
    "EMPTY_LIST": Machine._empty_list,
    "GLOBAL": Machine._global,
    "LONG_BINGET": Machine._get,
    "LONG_BINPUT": Machine._put,
    "MARK": Machine._mark,
    "MEMOIZE": Machine._memoize,
    "REDUCE": Machine._reduce,
    "SETITEM": Machine._set_item,
    "SETITEMS": Machine._set_items,
    "STACK_GLOBAL": Machine._stack_global,
    "TUPLE": Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
}

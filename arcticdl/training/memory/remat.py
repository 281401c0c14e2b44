"""Rematerialisation: values inside blocks are computed anew, not kept."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

_LEAST_KERNELS = 2  # of a block: as many as a basic residual block has
_NEAR = 20  # steps; a tensor that waits longer is no branch within a block


class _Step(NamedTuple):
    """A layer or an operation as it stands in a graph."""

    operation: Any
    reads: list[Any]
    writes: list[Any]

    @property
    def kernels(self) -> int:
        weights = getattr(self.operation, "weights", ())
        return sum(len(weight.shape) > 1 for weight in weights)

    @property
    def begins(self) -> bool:
        """Whether a block may begin here: with a kernel, or where features grow."""
        name = type(self.operation).__name__
        return bool(self.kernels) or name.startswith(("Resize", "Up"))

    @property
    def is_network(self) -> bool:
        return isinstance(self.operation, keras.Model)


def remat_blocks(model: keras.Model) -> int:
    """Has the blocks of a network keep only what goes in, while it trains.

    What lies between a block's input and output is then computed once more when the
    gradient needs it: less memory, for about one forward pass more a step. Weights,
    names, files and answers stay as they are, and so do the masks of dropout and the
    running statistics of norms.

    A block is a run of layers through which one tensor goes, with two kernels or
    more: two convolutions with their norms and activations, or a transformer block.
    Where branches run side by side it lasts until they meet.

    Args:
        model: A functional model; networks within it, such as a backbone, are split in
            blocks of their own. It is changed in place, before it is compiled.

    Returns:
        Number of blocks.

    Raises:
        TypeError: The model has no graph of layers, or no block in it.

    Reference:
        Chen et al. 2016, doi:10.48550/arXiv.1604.06174.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> model = build_segmenter("plain", num_bands=2, num_classes=3,
        ...                         backbone_options={"width": 4, "depth": 2},
        ...                         decoder_options={"channels": [8, 4]})
        >>> remat_blocks(model)
        4
    """
    if not getattr(model, "inputs", None):
        raise TypeError(
            "`model` must be a functional model, whose graph tells its blocks. "
            f"Received: {model.name!r}, a {type(model).__name__}."
        )
    count = _split(model)
    if not count:
        raise TypeError(
            f"`model` must have blocks of {_LEAST_KERNELS} kernels or more, of which "
            f"something could be left out. Received: {model.name!r}, with none."
        )
    return count


def _split(model: keras.Model) -> int:
    """Runs a model's graph block by block in training; tells the number of blocks."""
    inputs, outputs, steps = _walk(model)
    inner = {id(s.operation): s.operation for s in steps if s.is_network}
    count = sum(_split(network) for network in inner.values())
    parts = [_Part(part, steps, outputs) for part in _cut(steps, outputs)]
    plain, structure = model.call, model.output

    def call(values: Any, training: bool | None = None, **options: Any) -> Any:
        if not training:
            return plain(values, training=training, **options)
        given = zip(inputs, keras.tree.flatten(values), strict=True)
        known = {id(x): keras.ops.convert_to_tensor(v, x.dtype) for x, v in given}
        for part in parts:
            part(known)
        found = [known[id(tensor)] for tensor in outputs]
        return keras.tree.pack_sequence_as(structure, found)

    model.call = call
    return count + sum(part.is_block for part in parts)


def _walk(model: keras.Model) -> tuple[list[Any], list[Any], list[_Step]]:
    """Symbolic inputs and outputs of a model's graph, and its steps in their order."""
    steps: list[_Step] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        found = operation(*args, **kwargs)
        reads = [x for x in keras.tree.flatten((args, kwargs)) if _is_symbolic(x)]
        steps.append(_Step(operation, reads, keras.tree.flatten(found)))
        return found

    # Of its own, so that neither its class nor what it was compiled with is taken over.
    graph = keras.models.clone_model(
        keras.Model(model.inputs, model.outputs),
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return list(graph.inputs), list(graph.outputs), steps


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


def _cut(steps: Sequence[_Step], outputs: Sequence[Any]) -> list[list[_Step]]:
    """Parts of a graph: each ends before a kernel, where branches have met."""
    last = {id(x): n for n, step in enumerate(steps) for x in step.reads}
    last |= {id(x): len(steps) + _NEAR for x in outputs}
    parts: list[list[_Step]] = [[]]
    for number, step in enumerate(steps):
        part = parts[-1]
        alone = step.is_network or (part and part[-1].is_network)
        whole = step.begins and _kernels(part) >= _LEAST_KERNELS
        if part and (alone or (whole and _open_branches(steps, number, last) <= 1)):
            parts.append(part := [])
        part.append(step)
    return parts


def _open_branches(steps: Sequence[_Step], number: int, last: dict[int, int]) -> int:
    """Tensors that wait for a step or one after it, but for those that wait for long.

    The latter, levels of a pyramid and what a decoder joins, are kept wherever a graph
    is cut.
    """
    return sum(
        number <= last.get(id(x), -1) <= written + _NEAR
        for written in range(max(0, number - _NEAR), number)
        for x in steps[written].writes
    )


def _kernels(part: Sequence[_Step]) -> int:
    return sum(step.kernels for step in part)


def _going_on(
    part: Sequence[_Step], later: Sequence[_Step], outputs: Sequence[Any]
) -> list[Any]:
    """Tensors of a part that are read after it, or are answers."""
    wanted = {id(x) for step in later for x in step.reads} | {id(x) for x in outputs}
    return [x for step in part for x in step.writes if id(x) in wanted]


class _AsKept(keras.layers.Layer):
    """Runs what reads variables, each in the precision in which it is kept.

    Within a network of mixed precision all are read as 16 bits, those of its layers
    that compute in float32 among them, and a statistic would be kept as such.
    """

    def __init__(self, run: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(autocast=False)
        self.run = run

    def call(self, values: list[Any]) -> list[Any]:
        return self.run(values)


class _Part:
    """Some steps of a graph as a network of their own, on the same layers."""

    def __init__(
        self, part: Sequence[_Step], steps: Sequence[_Step], outputs: Sequence[Any]
    ) -> None:
        end = next(n for n, step in enumerate(steps) if step is part[-1]) + 1
        own = {id(x) for step in part for x in step.writes}
        read = {id(x): x for step in part for x in step.reads if id(x) not in own}
        self.reads = list(read.values())
        self.writes = _going_on(part, steps[end:], outputs)
        self.network = keras.Model(self.reads, self.writes)
        alone = any(step.is_network for step in part)
        self.is_block = not alone and _kernels(part) >= _LEAST_KERNELS
        self.run = _AsKept(self._run_anew) if self.is_block else self._run

    def __call__(self, known: dict[int, Any]) -> None:
        """Adds what the part writes to the values that are known."""
        values = [known[id(x)] for x in self.reads]
        known.update(zip(map(id, self.writes), self.run(values), strict=True))

    def _run(self, values: list[Any]) -> list[Any]:
        return keras.tree.flatten(self.network(values, training=True))

    def _run_anew(self, values: list[Any]) -> list[Any]:
        """As a function of tensors alone, which a backend can call a second time."""
        learnt = self.network.trainable_variables
        state = self.network.non_trainable_variables
        # Read once: a second run must not see what the first has changed.
        before = [(v, keras.ops.copy(v)) for v in state]
        changed: list[Any] = []

        def run(*tensors: Any) -> Any:
            read, weights = tensors[: len(values)], tensors[len(values) :]
            scope = keras.StatelessScope(
                [*zip(learnt, weights, strict=True), *before], collect_losses=True
            )
            with scope:
                kept = [scope.get_current_value(v) for v in state]
                found = self._run(list(read))
                now = [scope.get_current_value(v) for v in state]
            news = [n for n, value in enumerate(now) if value is not kept[n]]
            changed[:] = [state[n] for n in news]
            return (*found, *(now[n] for n in news), *scope.losses)

        result = keras.remat(run)(*values, *(v.value for v in learnt))
        found = keras.tree.flatten(result)
        told = len(self.writes)
        for variable, value in zip(changed, found[told:], strict=False):
            variable.assign(value)
        for loss in found[told + len(changed) :]:
            self.network.layers[-1].add_loss(loss)
        return found[:told]

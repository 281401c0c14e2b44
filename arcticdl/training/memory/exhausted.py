"""Errors of memory, whichever backend raises them, and what to try instead."""

from typing import Any

from arcticdl.errors import OutOfMemoryError

_MARKS = (
    "OutOfMemory",
    "out of memory",
    "Out of memory",
    "OOM when allocating",
    "ResourceExhausted",
    "RESOURCE_EXHAUSTED",
    "MemoryError",
    "can't allocate memory",
)


def is_memory_error(error: BaseException) -> bool:
    """Whether an error says that memory ran out.

    TensorFlow raises ``ResourceExhaustedError``, XLA and JAX errors of other kinds with
    ``RESOURCE_EXHAUSTED`` in them, PyTorch ``OutOfMemoryError``, NumPy ``MemoryError``.

    Example:
        >>> is_memory_error(RuntimeError("RESOURCE_EXHAUSTED: 2 GiB")), is_memory_error(
        ...     ValueError("no such band"))
        (True, False)
    """
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or any(mark in text for mark in _MARKS)


def explain_memory(
    error: BaseException, batch: Any, accumulate: int = 1
) -> OutOfMemoryError:
    """Says in one line which batch did not fit, and which to try.

    Args:
        error: What the backend raised.
        batch: Images of the batch, ``(batch, y, x, band)``, or their shape.
        accumulate: Batches whose gradients are averaged for one step.

    Returns:
        The error to raise: half of the batch with twice the accumulation, which learns
        as much a step; of a single image, what else makes a step smaller.
    """
    shape = tuple(getattr(batch, "shape", batch))
    count = int(shape[0])
    size = " x ".join(str(length) for length in shape[1:])
    received = (
        "A batch must fit the memory of the device. Received: "
        f"{count} of {size} ({type(error).__name__})."
    )
    if count > 1:
        half = count // 2
        return OutOfMemoryError(
            f"{received} Try batch_size: {half} with accumulate: "
            f"{accumulate * -(-count // half)}, or batch_size: auto, which finds the "
            "largest that fits; remat: true makes room for more."
        )
    return OutOfMemoryError(
        f"{received} One image is the smallest batch: take smaller tiles, a smaller "
        "network, remat: true or precision: mixed_bfloat16."
    )

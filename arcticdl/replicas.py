"""Sums over the devices that share a batch, wherever a backend keeps them apart."""

from typing import Any


def over_replicas(x: Any) -> Any:
    """Sums a tensor over the replicas of ``tf.distribute``; elsewhere it is whole.

    A loss divides by what is scored in the whole batch, and void lies where it will:
    the mean of the means of replicas is another number. On JAX a batch on several
    devices is one array, and so is every sum over it.

    Args:
        x: Tensor, a sum over this replica's part of the batch.

    Returns:
        The sum over the whole batch, with its gradient.

    Raises:
        ValueError: The strategy sums by collectives, which each replica launches in an
            order of its own where a step has several sums; they would wait for each
            other without end.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    by = getattr(context.strategy.extended, "_cross_device_ops", None)
    known = (
        tf.distribute.ReductionToOneDevice,
        tf.distribute.HierarchicalCopyAllReduce,
    )
    if not isinstance(by, known):
        raise ValueError(
            "The strategy must sum by copies, since losses and metrics have sums of "
            f"their own in every step. Received: {type(by).__name__}. Build it with "
            "tf.distribute.MirroredStrategy("
            "cross_device_ops=tf.distribute.ReductionToOneDevice())."
        )
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)

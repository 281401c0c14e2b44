"""What a training step of a network costs, in operations."""

from typing import Any

from arcticdl.errors import ConfigError

PASSES = 3
"""Forward, and backward at about twice that (Kaplan et al. 2020, section 2.1)."""


def count_operations(model: Any, shape: tuple[int, int, int]) -> float:
    """Counts the floating-point operations of a training step, by tile.

    Args:
        model: A Keras model of one input ``(batch, y, x, band)``.
        shape: Of a tile, ``(y, x, band)``.

    Returns:
        Operations of a forward pass, as TensorFlow's profiler counts them in its graph,
        times ``PASSES``; an addition and a multiplication are two.

    Raises:
        ConfigError: Another backend, whose graph it cannot read.

    Example:
        >>> import keras
        >>> layer = keras.layers.Conv2D(4, 3, use_bias=False, padding="same")
        >>> model = keras.Sequential([keras.Input((8, 8, 2)), layer])
        >>> count_operations(model, (8, 8, 2)) == 3 * 2 * (3 * 3 * 2) * (8 * 8 * 4)
        True
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            "The cost of sizes is counted by TensorFlow's profiler. Received: backend "
            f"{keras.backend.backend()!r}. Run with KERAS_BACKEND=tensorflow, or leave "
            "`sizes` out."
        )
    import tensorflow as tf

    forward = tf.function(lambda image: model(image, training=False))
    graph = forward.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")  # the profiler speaks of what it uses itself
    try:
        found = tf.compat.v1.profiler.profile(graph, options=options)
    finally:
        logger.setLevel(before)
    return float(PASSES * found.total_float_ops)

"""Which devices share a batch, and what each backend needs for that.

On JAX one program runs over a batch that lies on several devices, and every number is
that of one device but for rounding (``keras.distribution.DataParallel``). On TensorFlow
every device runs a replica on its part of the batch (``tf.distribute``), and what
belongs to the whole batch is added up over them: the sums of losses, the gradients
before they are clipped, the statistics of batch normalisation.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras

from arcticdl.errors import ConfigError
from arcticdl.models.latents.code import LatentCode
from arcticdl.training.averages.swa import WeightAverage
from arcticdl.training.devices.processes import num_processes, process_number


@dataclass(frozen=True)
class Placement:
    """The devices that share every batch.

    Attributes:
        num_local: Devices of this process.
        num_processes: Processes that train together.
        process: Which of them this one is, from 0.
        kind: What the devices are, such as ``"gpu"``.
        plan: The backend's own: a ``keras.distribution.Distribution``, a
            ``tf.distribute.Strategy``, or ``None`` for one device.
    """

    num_local: int = 1
    num_processes: int = 1
    process: int = 0
    kind: str = "cpu"
    plan: Any = field(default=None, repr=False)

    @property
    def total(self) -> int:
        """Devices of all processes."""
        return self.num_local * self.num_processes

    def scope(self) -> AbstractContextManager[Any]:
        """The block in which a model is built, compiled and fitted."""
        return nullcontext() if self.plan is None else self.plan.scope()

    def share(self, batch_size: int) -> int:
        """How many tiles of a batch this process feeds.

        Args:
            batch_size: Tiles of the batch of all devices.

        Raises:
            ConfigError: The devices cannot share it evenly.
        """
        if batch_size % self.total:
            raise ConfigError(
                "`train.batch_size` must be a multiple of the devices that share a "
                f"batch. Received: {batch_size} tiles for {self.total} devices. "
                f"Take {max(batch_size // self.total, 1) * self.total}, or fewer "
                "`train.devices`."
            )
        return batch_size // self.num_processes

    @property
    def part(self) -> tuple[int, int]:
        """Which part of each batch this process feeds, ``shard`` of a feed."""
        return self.process, self.num_processes

    @property
    def rows(self) -> int:
        """What the rows of this process's part must be a multiple of.

        JAX splits a batch evenly; convolutions of TensorFlow fail on an empty part.
        """
        return 1 if self.plan is None else self.num_local

    def __str__(self) -> str:
        each = f"{self.num_local} {self.kind}"
        if self.num_processes == 1:
            return f"{each}, each with a part of every batch"
        return f"{self.num_processes} processes with {each} each, sharing every batch"


def place(devices: int | str = 1) -> Placement:
    """Finds the devices that will share every batch.

    Args:
        devices: Devices of this process, at least 1, or ``"auto"``: all of the kind
            that the backend prefers, which it sees.

    Raises:
        ConfigError: The backend sees fewer, or is PyTorch, or several processes have
            different numbers of them.

    Example:
        >>> place(1).total
        1
    """
    backend = keras.backend.backend()
    if backend == "torch":
        if devices not in (1, "auto"):
            raise ConfigError(
                "`train.devices` must be 1 on PyTorch. Received: "
                f"{devices}. Several devices train on JAX and on TensorFlow."
            )
        return Placement()
    return _on_jax(devices) if backend == "jax" else _on_tensorflow(devices)


def _choose(devices: int | str, seen: int, kind: str) -> int:
    if devices == "auto":
        return seen
    if int(devices) > seen:
        raise ConfigError(
            "`train.devices` must not be more than the backend sees. Received: "
            f"{devices}, and {keras.backend.backend()} sees {seen} of kind {kind}. "
            "`arcticdl doctor` says what is missing; `train.devices=auto` takes what "
            "there is."
        )
    return int(devices)


def _on_jax(devices: int | str) -> Placement:
    import jax

    local = jax.local_devices()
    count = _choose(devices, len(local), local[0].platform)
    processes = num_processes()
    chosen = []
    for number in range(processes):
        of_one = [d for d in jax.devices() if d.process_index == number]
        if len(of_one) < count or (devices == "auto" and len(of_one) != count):
            raise ConfigError(
                "`train.devices` must be the same number in every process. Received: "
                f"{count} here and {len(of_one)} in process {number}. Give a number "
                "that all of them have."
            )
        chosen += [f"{d.platform}:{d.id}" for d in of_one[:count]]
    kind = local[0].platform
    plan = None
    if len(chosen) > 1:
        # The feed gives each process its own part.
        plan = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
    return Placement(count, processes, process_number(), kind, plan)


def _on_tensorflow(devices: int | str) -> Placement:
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    seen = [device.name for device in tf.config.list_logical_devices(kind)]
    count = _choose(devices, len(seen), kind.lower())
    plan = None
    if count > 1:
        # Collectives are launched in another order on each replica where a step adds
        # up more than its gradients, and then wait for one another.
        plan = tf.distribute.MirroredStrategy(
            seen[:count], cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
    return Placement(count, kind=kind.lower(), plan=plan)


def num_replicas(model: keras.Model) -> int:
    """Replicas of a model on TensorFlow; 1 on JAX, where one program has all devices.

    Args:
        model: Any model.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    return int(model.distribute_strategy.num_replicas_in_sync)


def num_sharing(model: keras.Model) -> int:
    """Devices of this process that share each batch of a model.

    Args:
        model: Any model, in the scope in which it was built.
    """
    if keras.backend.backend() != "jax":
        return num_replicas(model)
    placed = keras.distribution.distribution()
    if placed is None:
        return 1
    return int(placed.device_mesh.devices.size) // num_processes()


def check_replicas(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> None:
    """Refuses what replicas of TensorFlow would compute otherwise than one device.

    Args:
        model: A compiled model.
        callbacks: What its training will call.

    Raises:
        ConfigError: A compiled step, accumulated gradients, scaled losses, a loss that
            ranks the pixels of a batch, a code that adds to the loss, or a callback
            that renews the optimiser.
    """
    if num_replicas(model) == 1:
        return
    losses = keras.tree.flatten(model.loss)
    losses = [getattr(loss, "loss", loss) for loss in losses]  # one that a layer weighs
    ranking = [loss.name for loss in losses if getattr(loss, "ranks_batch", False)]
    found = {
        "`train.jit_compile` true, which compiles a step for one device": (
            model.jit_compile
        ),
        "`train.accumulate` above 1": getattr(
            model.optimizer, "gradient_accumulation_steps", None
        ),
        "`train.precision` mixed_float16, which scales losses": hasattr(
            model.optimizer, "inner_optimizer"
        ),
        "`train.unfreeze`, which renews the optimiser": any(
            hasattr(callback, "set_epoch") for callback in callbacks
        ),
        "`train.swa`, which takes statistics of whole batches anew": any(
            isinstance(callback, WeightAverage) for callback in callbacks
        ),
        f"losses that rank the pixels of a batch, {ranking}": ranking,
        "`model.options.latent` of a kind that adds to the loss": any(
            isinstance(layer, LatentCode) and layer.kind != "plain"
            for layer in model.layers
        ),
    }
    wrong = [what for what, is_so in found.items() if is_so]
    if wrong:
        raise ConfigError(
            "`train.devices` above 1 on TensorFlow must give what one device gives. "
            f"Received: {'; '.join(wrong)}. Change it, or train on JAX "
            "(KERAS_BACKEND=jax), where all of this works."
        )


@contextmanager
def as_one_device(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> Iterator[None]:
    """Lets the replicas of a model learn from the whole batch, for a block.

    Keras clips the gradients of each replica apart, and normalises with the statistics
    of each part. Does nothing for a model with one replica.

    Args:
        model: A compiled model.
        callbacks: What its training will call.

    Raises:
        ConfigError: As for `check_replicas`.
    """
    check_replicas(model, callbacks)
    if num_replicas(model) == 1:
        yield
        return
    optimizer = model.optimizer
    _pool_gradients(optimizer)
    normalisers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    for layer in normalisers:
        layer.synchronized = True
    try:
        yield
    finally:
        for name in ("apply", "_all_reduce_sum_gradients"):
            vars(optimizer).pop(name)
        for layer in normalisers:  # a saved model knows nothing of devices
            layer.synchronized = False


def _pool_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Adds gradients up over replicas before they are clipped, and not again after."""
    import tensorflow as tf

    apply = optimizer.apply

    def pooled(grads: Any, trainable_variables: Any = None) -> Any:
        context = tf.distribute.get_replica_context()
        some = [grad for grad in grads if grad is not None]
        summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, some))
        whole = [None if grad is None else next(summed) for grad in grads]
        return apply(whole, trainable_variables)

    optimizer.apply = pooled
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs

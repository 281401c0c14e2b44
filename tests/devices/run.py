"""The command line where a CPU is several devices: ``python run.py N COMMAND``."""

import os
import sys


def split_cpu(num_devices: int) -> None:
    """Makes one CPU look like several, before Keras looks for devices."""
    if os.environ["KERAS_BACKEND"] == "jax":
        flag = f"--xla_force_host_platform_device_count={num_devices}"
        os.environ["XLA_FLAGS"] = flag
        return
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * num_devices
    tf.config.set_logical_device_configuration(cpu, parts)


if __name__ == "__main__":
    split_cpu(int(sys.argv[1]))
    from arcticdl.cli import main

    sys.exit(main(sys.argv[2:]))

"""Choose the faster precision on this machine, float32 or bfloat16."""

import time
from functools import cache
from pathlib import Path

import tensorflow as tf

from keras_aaa.checks import lookup

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def choose_precision(precision: str) -> str:
    """Return "float32" or "bfloat16".

    Args:
        precision: "float32", "bfloat16" or "auto", which is bfloat16 if it is faster on this
            hardware.

    Raises:
        ValueError: for any other value.
    """
    lookup("precision", precision, {**POLICIES, "auto": None})
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("TPU"):
        return "bfloat16"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "bfloat16" if capability and capability >= (8, 0) else "float32"
    return _of_cpu()


@cache
def _of_cpu() -> str:
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.exists() else ""
    if "avx512_bf16" not in flags and "amx_bf16" not in flags:
        return "float32"
    # The instructions alone do not make bfloat16 faster. On an Intel Xeon whose AMX units are
    # switched off, matrix products in bfloat16 run at half the speed of float32.
    speeds = {precision: peak(precision, size=1024, trials=3) for precision in POLICIES}
    return "bfloat16" if speeds["bfloat16"] > 1.2 * speeds["float32"] else "float32"


PRODUCTS = 4  # per call, so that the cost of the call itself does not matter


def peak(precision: str, size: int = 2048, trials: int = 5) -> float:
    """Return the multiply-adds per second of a square matrix product, the best of `trials`.

    Args:
        precision: "float32" or "bfloat16".
        size: rows and columns of the matrices.
        trials: number of measurements.
    """
    dtype = tf.as_dtype(precision)
    a = tf.cast(tf.random.stateless_uniform((size, size), (0, 0)), dtype)

    @tf.function
    def products():
        x = a
        for _ in range(PRODUCTS):
            x = tf.matmul(a, x) * tf.cast(1 / size, dtype)
        return tf.reduce_sum(tf.cast(x, tf.float32))

    products().numpy()
    seconds = []
    for _ in range(trials):
        began = time.perf_counter()
        products().numpy()
        seconds.append(time.perf_counter() - began)
    return PRODUCTS * size**3 / min(seconds)

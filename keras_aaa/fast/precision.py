"""bfloat16 where it pays: which precision is the faster one on this machine."""

import time
from functools import cache
from pathlib import Path

import tensorflow as tf

from keras_aaa.checks import lookup

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def choose_precision(precision: str) -> str:
    """Return "float32" or "bfloat16"; "auto" is bfloat16 where the hardware is faster in it.

    Raises:
        ValueError: for another word.
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
    # Having the instructions is not enough: matrix products in bfloat16 have 1.9 times the speed of
    # float32 on an AMD EPYC, and half of it on an Intel Xeon whose AMX units are switched off.
    measured = {precision: peak(precision, size=1024, trials=3) for precision in POLICIES}
    return "bfloat16" if measured["bfloat16"] > 1.2 * measured["float32"] else "float32"


PRODUCTS = 4  # in one call, so that the call itself costs nothing beside them


def peak(precision: str, size: int = 2048, trials: int = 5) -> float:
    """Return the multiply-adds a second of a square matrix product here, the best of a few.

    Args:
        precision: "float32" or "bfloat16".
        size: rows and columns of the matrices.
        trials: how often it is measured.
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

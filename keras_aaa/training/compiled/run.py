"""Train the models that this folder describes, with JAX alone.

    python run.py                    # the epochs of the recipes
    python run.py --seconds=540      # as many of them as this call can take in 540 seconds
    python run.py --compile_only     # compile (into cache/: a later call begins sooner) and time

It needs JAX, NumPy and Pillow; neither TensorFlow nor keras_aaa. The results come to result/. A
call that was broken off goes on where its last state was written: start it again (exit code 75
asks for that). Every random draw derives from (seed, step): on the CPU a run that was broken off
ends with the same weights, bit for bit.
"""

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from pathlib import Path  # noqa: E402

try:
    import jax
    import numpy as np
    from jax.sharding import Mesh
    from PIL import Image  # noqa: F401
except ImportError as missing:
    print(f"error: expected JAX (0.10 or newer), NumPy and Pillow; {missing}.", file=sys.stderr)
    sys.exit(2)
from job_files import Problem, load_examples, read_job  # noqa: E402
from job_loop import Loop, OutOfTime  # noqa: E402
from job_training import Training  # noqa: E402

HERE = Path(__file__).resolve().parent
AGAIN = 75  # exit code "start me again"
SPARE_SECONDS = 5.0  # of --seconds, to write the result and end


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="the whole call ends in so many")
    parser.add_argument("--save_seconds", type=float, default=60, help="between saved states")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of trainings")
    parser.add_argument("--devices", type=int, help="how many to use; all that there are if not")
    parser.add_argument("--result", type=Path, default=HERE / "result", help="folder of results")
    parser.add_argument(
        "--compile_only", action="store_true", help="compile and time, train nothing"
    )
    parser.add_argument("--profile", type=Path, help="folder for a trace of a few steps")
    return parser.parse_args(arguments)


def end_after(seconds: float) -> None:
    """End this process then, whatever it does: a compiler cannot be asked to stop."""

    def end():
        print(
            f"error: --seconds={seconds:.0f}: the time was over before the first step. What was "
            "compiled by then is kept; start again, or give more seconds.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(AGAIN)

    timer = threading.Timer(seconds - (time.monotonic() - STARTED), end)
    timer.daemon = True
    timer.start()


def main(options: argparse.Namespace) -> None:
    if options.seconds:
        end_after(options.seconds)
    job, job_hash = read_job(HERE)
    entries = {entry["name"]: entry for entry in job["trainings"]}
    for name in options.only or ():
        if name not in entries:
            raise Problem(f"--only: there is no training {name!r}; there are {', '.join(entries)}.")
    jax.config.update("jax_enable_x64", True)  # labels are int64
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(HERE / "cache"))
    devices = jax.devices()
    if options.devices is not None and not 1 <= options.devices <= len(devices):
        raise Problem(f"--devices: expected 1 to {len(devices)}, got {options.devices}.")
    devices = devices[: options.devices]
    mesh = Mesh(np.array(devices), ("batch",))
    about = {
        "job": job_hash,
        "jax": jax.__version__,
        "device": devices[0].device_kind,
        "devices": len(devices),
    }
    trainings = [
        Training(HERE, entry, job["train_examples"], options.result, mesh)
        for name, entry in entries.items()
        if name in (options.only or entries)
    ]
    waiting = [training for training in trainings if not training.finished(job_hash)]
    for training in trainings:
        if training not in waiting:
            print(f"{training.name}: done, its result is in {training.out}.", flush=True)
    if not waiting:
        return
    print(f"{len(devices)} x {about['device']}, JAX {about['jax']}: compiling ...", flush=True)
    examples = load_examples(HERE, job["train_examples"])
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda training: training.compile(examples), waiting))
    print(f"Compiled after {time.monotonic() - STARTED:.0f} s.", flush=True)
    data = waiting[0].put(examples)
    deadline = STARTED + options.seconds - SPARE_SECONDS if options.seconds else float("inf")
    loops = [Loop(training, about, options.save_seconds) for training in waiting]
    for loop in loops:
        loop.training.place(data, stand_ins=True)
        loop.measure()
        loop.report_times()
    if options.compile_only:
        return
    if options.profile:
        with jax.profiler.trace(str(options.profile)):
            loops[0].measure()
        return
    while loops:
        fraction = fitting(loops, deadline - time.monotonic())
        loop = loops.pop(0)
        loop.training.place(data)  # the classifiers before which it stands are trained by now
        loop.train(fraction, deadline)


def fitting(loops: list[Loop], seconds: float) -> float:
    """Return the largest fraction of their epochs that all trainings can have in the time."""
    for thousandths in range(1000, 0, -1):
        if sum(loop.seconds_left(thousandths / 1000) for loop in loops) <= seconds:
            return thousandths / 1000
    if any(loop.begun for loop in loops):
        return 0.001  # what was begun goes on as far as it comes
    least = sum(loop.seconds_left(0.001) for loop in loops)
    raise Problem(
        f"--seconds: {seconds:.0f} s are left after compiling, which takes a moment when it is "
        f"done again; expected {least:.0f} s or more, for an epoch of each training."
    )


if __name__ == "__main__":
    given = parse()
    try:
        main(given)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(
            "error: the device has not enough memory for the batches of this job; write it with a "
            f"smaller --batch_size. ({str(error).splitlines()[0][:200]})",
            file=sys.stderr,
        )
        sys.exit(2)
    except OutOfTime:
        print("Out of time: the state is saved, and the same command goes on from there.")
        sys.exit(AGAIN)

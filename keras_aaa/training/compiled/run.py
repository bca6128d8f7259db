"""Train the models that this folder describes, with JAX alone.

    python run.py                    # the epochs of the recipes
    python run.py --seconds=540      # as many of these epochs as fit into 540 seconds
    python run.py --compile_only     # compile into cache/ (a later call starts sooner) and time

It needs JAX, NumPy and Pillow, but not TensorFlow or keras_aaa. The results go to result/. Start an
interrupted call again (exit code 75 asks for that): it resumes from its last saved state. Every
random draw depends only on (seed, step). On the CPU, an interrupted and resumed run therefore ends
with the same weights, bit for bit.
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
AGAIN = 75  # exit code that asks for a restart
SPARE_SECONDS = 5.0  # part of --seconds for writing the result


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="time limit of the whole call")
    parser.add_argument("--save_seconds", type=float, default=60, help="seconds between states")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, with commas")
    parser.add_argument("--devices", type=int, help="number of devices; by default all")
    parser.add_argument("--result", type=Path, default=HERE / "result", help="folder of results")
    parser.add_argument(
        "--compile_only", action="store_true", help="compile and time, but do not train"
    )
    parser.add_argument("--profile", type=Path, help="folder for a trace of a few steps")
    return parser.parse_args(arguments)


def end_after(seconds: float) -> None:
    """End this process after `seconds`; a running compiler cannot be stopped in another way."""

    def end():
        print(
            f"error: --seconds={seconds:.0f}: the time was over before the first step. Compiled "
            "code is cached; start again, or set more seconds.",
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
        loop.training.place(data)  # its frozen classifiers are trained by now
        loop.train(fraction, deadline)


def fitting(loops: list[Loop], seconds: float) -> float:
    """Return the largest fraction of their epochs that all trainings can take in `seconds`."""
    for thousandths in range(1000, 0, -1):
        if sum(loop.seconds_left(thousandths / 1000) for loop in loops) <= seconds:
            return thousandths / 1000
    if any(loop.begun for loop in loops):
        return 0.001  # a training in progress continues as far as it can
    least = sum(loop.seconds_left(0.001) for loop in loops)
    raise Problem(
        f"--seconds: expected {least:.0f} s or more after compiling, for one epoch of each "
        f"training; got {seconds:.0f} s. Start again (compiled code is cached), or set more."
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
            "error: the device has too little memory for this job's batches; write the job with a "
            f"smaller --batch_size. ({str(error).splitlines()[0][:200]})",
            file=sys.stderr,
        )
        sys.exit(2)
    except OutOfTime:
        print("Out of time: the state is saved. The same command resumes from there.")
        sys.exit(AGAIN)

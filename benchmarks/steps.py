"""What makes a training step quick on this machine: compiler, threads and precision, on one constant batch.

    python benchmarks/steps.py [--nets conv1d conv2d mobilenet] [--steps 8] [--rounds 3]

Each case is a process of its own, by turns, with the default recipe's windows and batch: Keras's own step, as the
trainer takes it; the same compiled by XLA (jit_compile); with one thread inside an operation, or one operation at a
time; in bfloat16. The last case is two processes of one thread each at once: what training two folds side by side
would give. Steps are counted after the first two, which trace the net. For Keras on TensorFlow.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # this folder's own names would hide the packages

from benchmarks.ratios import Bystanders, by_turns, header, table, times

NETS = ("conv1d", "conv2d", "mobilenet")
RATE, HOP, BANDS = 44_100, 512, {"conv2d": 40, "mobilenet": 64}
CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "as trained": ({}, []),
    "XLA (jit_compile)": ({}, ["--jit"]),
    "one thread in an operation": ({"TF_NUM_INTRAOP_THREADS": "1"}, []),
    "one operation at a time": ({"TF_NUM_INTEROP_THREADS": "1"}, []),
    "without oneDNN": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, []),
    "bfloat16": ({}, ["--bfloat16"]),
}
TOGETHER = "two processes of one thread"


def seconds_a_clip(net: str, n_steps: int, jit: bool, bfloat16: bool) -> float:
    """Of a step's time on a constant batch, after two that do not count."""
    import keras
    import numpy as np

    from train.fold import compile_model
    from train.nets.build import build
    from train.recipe import DEFAULT

    if bfloat16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    shape = (round(DEFAULT.seconds * 16_000), 1)
    if net in BANDS:
        shape = (1 + round(DEFAULT.seconds * RATE) // HOP, BANDS[net])
    model = build(net, shape, 10)
    compile_model(model, DEFAULT, 1000)
    model.jit_compile = jit
    random = np.random.default_rng(1)
    windows = random.normal(size=(DEFAULT.batch_size, *shape)).astype(np.float32)
    answers = np.eye(10, dtype=np.float32)[random.integers(0, 10, DEFAULT.batch_size)]
    for step in range(2 + n_steps):
        if step == 2:
            started = time.perf_counter()
        model.train_on_batch(windows, answers)
    return (time.perf_counter() - started) / (n_steps * DEFAULT.batch_size)


def begun(net: str, n_steps: int, environment: dict[str, str], flags: list[str]) -> subprocess.Popen:
    """A process that prints the figure."""
    command = [sys.executable, __file__, "--child", net, "--steps", str(n_steps), *flags]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def result(process: subprocess.Popen) -> float:
    """What it printed."""
    printed = process.communicate()[0]
    if process.returncode:
        sys.exit(f"{' '.join(process.args)}: ended with {process.returncode}")
    return float(printed)


def together(net: str, n_steps: int) -> float:
    """Seconds a clip of two processes that train at once."""
    both = [begun(net, n_steps, {"TF_NUM_INTRAOP_THREADS": "1"}, []) for _ in range(2)]
    return 1 / sum(1 / result(process) for process in both)


def report(net: str, n_steps: int, rounds: int) -> str:
    """A net's table."""
    cases = {name: lambda how=how: result(begun(net, n_steps, *how)) for name, how in CASES.items()} | {
        TOGETHER: lambda: together(net, n_steps)
    }
    rows = times(by_turns(cases, rounds), "as trained", "clips")
    return table(f"{net}: training steps", ["", "", "times the time of 'as trained'"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, help="nets to time (default: all)")
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case (default: 3)")
    parser.add_argument("--child", choices=NETS, help=argparse.SUPPRESS)
    parser.add_argument("--jit", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bfloat16", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(seconds_a_clip(arguments.child, arguments.steps, arguments.jit, arguments.bfloat16))
        return
    bystanders = Bystanders()
    print(header("keras", "tensorflow"))
    for net in arguments.nets:
        print(report(net, arguments.steps, arguments.rounds))
    print(bystanders)


if __name__ == "__main__":
    main()

"""The software and the machine under a run: Keras's start, backend and device, versions, and backends' errors."""

import gc
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from common import EarmarkError
from train.settings import SettingsError

BACKENDS = ("tensorflow", "jax", "torch")
_LIBRARIES = ("earmark", "keras", "numba", "numpy", "pandas", "scikit-learn")
_KEPT = "finished folds and epochs are kept"
# each backend has classes of its own for a device whose memory is full; these words are theirs
_MEMORY_FULL = ("out of memory", "outofmemory", "oom when allocating", "allocate memory", "allocator ran out")


def check_backend() -> None:
    """Refuse a KERAS_BACKEND that Keras does not have or that is not installed, before Keras is imported."""
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise SettingsError(f"KERAS_BACKEND must be tensorflow, jax or torch, got {name!r}; unset it")
    if not find_spec(name):
        raise SettingsError(
            f"KERAS_BACKEND is {name}, which is not installed; install it, or choose another backend"
        )


def started_keras() -> str:
    """Import Keras, quickly and quietly; the name of the device that it trains on, such as cpu:0 or gpu:0."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, once TensorFlow listens to it
    gc.disable()  # it takes a quarter of the import's time, and finds nothing
    try:
        with held_back_stderr():
            return device()
    finally:
        gc.freeze()  # modules stay: they are never gone through again
        gc.enable()


def device() -> str:
    """The name of the device that Keras trains on; the backend looks for one now."""
    import keras

    try:
        return keras.distribution.list_devices()[0]
    except AttributeError:  # Keras's PyTorch backend lists none, as of 3.15; its tensors know where they are
        return str(keras.ops.zeros(()).device)


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what anything in this process writes to file descriptor 2; show it if the block raises.

    TensorFlow writes a dozen lines to standard error while it is imported and while it looks for GPUs, before its
    logging is set up, so that no variable stops them (2.19 to 2.21; tensorflow issue 100442).
    """
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def versions(backend: str) -> dict[str, str | None]:
    """Versions of Python, of earmark, of Keras's backend and of the libraries that decide what a run gives."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in (*_LIBRARIES, backend):
        found[name] = None
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_revision(package: Path = Path(__file__).parent) -> str | None:
    """The commit of the checkout that tracks this package; None where it lies in none, as after `pip install`."""
    # variables such as GIT_DIR, which git sets for its hooks, would lead to another repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for command in (["ls-files", "--error-unmatch", "__init__.py"], ["rev-parse", "--verify", "HEAD"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *command], capture_output=True, text=True, check=True, env=environment
            )
        except (OSError, subprocess.CalledProcessError):
            return None
    return done.stdout.strip()


@contextmanager
def in_plain_words(folder: Path) -> Iterator[None]:
    """Turn a disk or a memory that is full, in whatever words a backend says it, into a SettingsError of one line.

    Args:
        folder: where the run writes to.
    """
    try:
        yield
    except (EarmarkError, BrokenPipeError):
        raise
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror or error}; {_KEPT}") from error
    except Exception as error:
        words = f"{type(error).__name__} {error}".lower()
        if "no space left on device" in words:  # TensorFlow's words, from its logs
            raise SettingsError(f"{folder}: No space left on device; {_KEPT}") from error
        if isinstance(error, MemoryError) or any(full in words for full in _MEMORY_FULL):
            raise SettingsError(
                f"not enough memory; lower --batch-size or --seconds with a new --name; {_KEPT}"
            ) from error
        raise

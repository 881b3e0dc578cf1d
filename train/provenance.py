"""What a run notes of where it came from: library versions and the project's git revision."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("earmark", "keras", "numba", "numpy", "pandas", "scikit-learn", "zarr")


def versions(backend: str) -> dict[str, str | None]:
    """Versions of Python, of Keras's backend and of the libraries that decide what a run gives."""
    return {"python": platform.python_version()} | {name: _version(name) for name in (*_LIBRARIES, backend)}


def git_revision() -> str | None:
    """The commit that the working directory is a checkout of, None where it is none."""
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

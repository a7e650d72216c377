"""W6: what an import costs, what it keeps in memory, and what an installation weighs."""

import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib import metadata
from pathlib import Path

from worker import HERE, environment

OURS = "import minirl; minirl.train"  # minirl is lazy: this loads all that a training needs, gymnasium too
PEER = "import stable_baselines3"
PEER_PACKAGES = ("torch", "stable_baselines3", "sb3_contrib")


def import_seconds(code: str) -> float:
    """In a fresh interpreter, the interpreter's own start taken off."""
    return interpreter(code) - interpreter("pass")


def interpreter(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(1))
    return time.perf_counter() - start


def resident(code: str) -> int:
    """Bytes in memory after it (Linux tells)."""
    tell = "; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
    return 1024 * int(
        subprocess.run([sys.executable, "-c", code + tell], check=True, env=environment(1), capture_output=True).stdout
    )


def wheel() -> dict[str, int]:
    """Bytes of minirl's wheel and of what it unpacks to, built from a copy of the sources."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        leave = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
        shutil.copytree(HERE.parent / "minirl", source / "minirl", ignore=leave)
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(HERE.parent / name, source)
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            str(source),
        ]
        subprocess.run(command, check=True, env=environment(1))
        (built,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(built) as parts:
            return {"wheel": built.stat().st_size, "installed": sum(part.file_size for part in parts.infolist())}


def installed(package: str) -> int:
    """Bytes of an installed package's own files."""
    return sum(path.stat().st_size for file in metadata.files(package) or [] if (path := Path(file.locate())).is_file())

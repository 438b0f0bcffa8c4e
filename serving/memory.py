"""Memory of a replica: whether there is enough to load a model, and what is cleaned up when.

ONNX Runtime takes many times a graph's size while it loads one, and the C library keeps most of
that for later. Measured with forests of 34 and 64 MB: 12 times the file while loading, 10 times
afterwards, and 4 times once the rest was given back. Without that, a second model or a swap can
pass the limit of a container, and there Ray ends replica and controller, over and over.
"""

import ctypes
import gc
from pathlib import Path

import psutil

from mlops_assets.domain.errors import BundleError
from mlops_assets.stores.bundles import ONNX_MODEL

# New objects that may be garbage in cycles, of which the requests make none: a thousand records are
# as many objects, and to look for cycles among them took a sixth of their time.
NEW_OBJECTS = 50_000
# Where a container finds its own control group.
CGROUPS = Path("/sys/fs/cgroup")
# Of a graph's size, what ONNX Runtime takes at most while it loads it.
LOADING_FACTOR = 13
# Ray ends workers from this share of the limit on.
USABLE = 0.95
# (limit, use, statistics, name in these of what the kernel can take back), version 2 and 1.
FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def require_room(folder: Path) -> None:
    """Raise BundleError when there is not enough free memory to load the bundle's ONNX model."""
    path = folder / ONNX_MODEL
    if not path.is_file():
        return
    needed, free = LOADING_FACTOR * path.stat().st_size, free_bytes()
    if needed > free:
        raise BundleError(
            f"{path} takes about {needed >> 20} MiB while it loads, and only "
            f"{max(free, 0) >> 20} MiB of memory are free: give serving more, or release a "
            "smaller model."
        )


def free_bytes() -> int:
    """Memory that may still be taken: the container's, or the machine's if that is less."""
    free = [psutil.virtual_memory().available]
    for limit, use, statistics, name in FILES:
        try:
            most = int((CGROUPS / limit).read_text())
            used = int((CGROUPS / use).read_text())
            lines = (CGROUPS / statistics).read_text().splitlines()
        except (OSError, ValueError):
            # The other version, or no limit, which version 2 calls "max".
            continue
        cached = dict(line.split() for line in lines).get(name, "0")
        free.append(int(most * USABLE) - used + int(cached))
    return min(free)


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def collect_rarely() -> None:
    """Have Python look for garbage in cycles less often than after every 700 new objects."""
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])

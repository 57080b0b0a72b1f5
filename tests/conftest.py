"""Strict settings for every test: JAX's own guards on, types and shapes checked, eight devices that are not there."""

import os
from pathlib import Path

from tests.compiling import XLA_FLAGS

# Read when JAX and torch are first imported, so they come before both.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {XLA_FLAGS} {os.environ.get('XLA_FLAGS', '')}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Torch's, where it is installed: more threads, and threads that spin, starve xdist's other process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Compiled programs are kept: the two processes share them, and a second run finds them.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import ctypes
import gc
from collections.abc import Iterator

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Helpers that assert say what they compared, as tests do.
pytest.register_assert_rewrite("tests.amplification", "tests.checkpoints")

# Not over the modules that hold dataclass pytrees: JAX rebuilds those with leaves that are not arrays.
CHECKED = (
    "nn.attention",
    "nn.functions",
    "nn.rotary",
    "forward_pass",
    "analysis.attribution._attribute",
    "analysis.attribution._effects",
    "analysis.landing._land",
    "analysis.reads._targets",
    "analysis.writes._projections",
    "analysis.writes._write",
)
install_import_hook([f"landed_jax.{name}" for name in CHECKED], "beartype.beartype")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("local", deadline=None, max_examples=15)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("local"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

TESTS, RESIDENT = pytest.StashKey[int](), pytest.StashKey[int]()
STORIES = Path(__file__).parents[2] / "shared" / "models" / "stories260K"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="of each test marked quick, its first configuration alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        first: dict[tuple[str, str], pytest.Item] = {}
        for item in items:
            if item.get_closest_marker("quick"):
                first.setdefault((str(item.path), item.originalname), item)
        chosen = list(first.values())
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_collection_finish() -> None:
    """What was imported stays, and tracing makes small objects by the million: look through them seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


# Linux gives a process 65,530 mappings of memory, and each compiled program takes several. At the limit the next
# program ends the process with a segmentation fault.
MOST_MAPPINGS = 25_000
# Programs take memory too: two processes have to fit beside each other.
MOST_GROWTH = 2 << 30  # bytes


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    stash = item.config.stash
    stash[TESTS] = tests = stash.get(TESTS, 0) + 1
    if tests % 10 or not Path("/proc/self/maps").exists():
        return
    stash.setdefault(RESIDENT, resident := _resident())
    mappings = Path("/proc/self/maps").read_bytes().count(b"\n")
    if mappings > MOST_MAPPINGS or resident > stash[RESIDENT] + MOST_GROWTH:
        jax.clear_caches()  # the programs are in the cache on the disk
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # glibc keeps what it could give back
        stash[RESIDENT] = _resident()


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX's 64-bit types, for one test. The setting belongs to the thread, so xdist's processes do not share it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def usual_promotion() -> Iterator[None]:
    """JAX's usual type promotion, for optax, which mixes whole numbers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def stories() -> Path:
    """A second trained model: of another program, with a tied embedding and SentencePiece's tokenizer.

    Tests that need no more than a trained model open the bundled one.
    """
    if not STORIES.is_dir():
        # A clone alone does not have it: it is shared material, no part of the package, and tests download nothing.
        pytest.skip(f"{STORIES} is absent: this test compares a second trained model, which lies beside the repository")
    return STORIES

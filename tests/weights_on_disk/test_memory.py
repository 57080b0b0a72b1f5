"""A model of many layers runs in a small part of the memory that it would fill."""

from pathlib import Path

import numpy as np
import pytest

from landed_jax.checkpoints.hf.table import tensor_places
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import write_checkpoint
from tests.fulldisk import python

DEEP = ModelConfig(vocab_size=64, d_model=512, n_layers=40, n_heads=8, n_kv_heads=8, head_dim=64, d_ff=2048)
# The peak of anonymous memory while the second prompt runs, above what there was before it: the first compiles.
WATCH = """
import sys, threading, time
import landed_jax as landed
from landed_jax.analysis.reduce import top_writes

def own():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

def watch():
    while not stop.is_set():
        peak[0] = max(peak[0], own())
        time.sleep(0.002)

model = landed.load(sys.argv[1], stream=True)
before, peak, stop = own(), [0], threading.Event()
watcher = threading.Thread(target=watch)
for first in (True, False):
    if not first:
        before = own()
        watcher.start()
    trace = model.trace([[1, 5, 7]])
    landed.attribute(trace, 4, effects=True)
    model.attribute_streaming([[1, 5, 7]], top_writes(3), passes=2)
stop.set()
watcher.join()
print(peak[0] - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.slow
def test_a_few_layers_are_in_memory(tmp_path: Path) -> None:
    layer = {p.name: np.full(p.entry.shape(DEEP), 0.01, np.float32) for p in tensor_places(DEEP)}
    size = sum(tensor.nbytes for tensor in layer.values())
    one_layer = size // DEEP.n_layers
    write_checkpoint(tmp_path, layer, DEEP)
    del layer
    grown = int(python(WATCH, str(tmp_path)).stdout)
    assert size > 600 << 20
    assert one_layer < grown < size // 4

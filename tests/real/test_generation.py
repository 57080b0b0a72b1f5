"""SmolLM2 goes on as with `transformers`, and its page can be mailed."""

from pathlib import Path

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.page import page
from tests.needs import needs_torch

pytestmark = pytest.mark.real
PROMPT, COUNT = "The Colosseum is in the city of", 64


@needs_torch
def test_64_tokens_are_those_of_transformers(model: landed.Model, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = np.asarray(model.encode(PROMPT).ids)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        given = torch.from_numpy(ids.astype(np.int64))
        theirs = reference.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=COUNT, min_new_tokens=COUNT, do_sample=False
        )
    found = model.generate(PROMPT, COUNT, stop=())
    assert list(found.ids[0]) == theirs[0, ids.shape[1] :].tolist()


def test_the_account_of_a_token_is_that_of_its_prefix(model: landed.Model) -> None:
    found = model.generate(PROMPT, 3)
    accounts = found.account().accounts
    prefix = [*np.asarray(model.encode(PROMPT).ids)[0].tolist(), *found.ids[0][:2]]
    alone = model.run(prefix, target=f"#{found.ids[0][2]}")
    np.testing.assert_allclose(accounts[2].attribution.value, alone.attribution.value, rtol=1e-4)


def test_its_page_takes_less_than_3_megabytes(model: landed.Model) -> None:
    sections = ["by_source", "effects", "coordinates", "lens", "detail"]
    assert len(page(model.run("The capital of France is", sections=sections).to_dict()).encode()) < 3_000_000

"""The same tokens as `transformers` generates, with its own caches, from tiny models of every kind of family."""

import numpy as np
import pytest

import landed_jax as landed
from tests.parity.cases import CASES
from tests.parity.conversion import convert
from tests.parity.torch_model import hf_config, tiny_model
from tests.torch_here import torch

PROMPTS = [[3, 14, 15, 9, 2, 6, 5, 3], [7, 1, 1]]
# Windows of 4 and fewer are passed many times.
COUNT = 16
FIRST = ("gpt2", "gpt_neox", "gemma2", "mixtral")
MORE = (
    "grouped",
    "olmo2",
    "gemma3_text",
    "qwen3",
    "qwen2_windows_from_a_layer_on",
    "mistral_window",
    "olmo3",
    "granite_all_factors",
)
LAST = ("phi3", "ministral3", "qwen3_moe_normalised", "olmoe", "gpt_oss", "yarn_mscale")


@pytest.mark.parametrize("case", [*FIRST, *(pytest.param(case, marks=pytest.mark.slow) for case in (*MORE, *LAST))])
def test_the_likeliest_tokens_are_those_of_transformers(case: str) -> None:
    kind, fields = CASES[case]
    theirs = tiny_model(hf_config(kind, **fields))
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    how = {"max_new_tokens": COUNT, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with torch.no_grad():
        made = theirs.generate(ids, attention_mask=mask, return_dict_in_generate=True, output_logits=True, **how)
    found = landed.Model(*convert(theirs)).generate(PROMPTS, COUNT, stop=())
    assert [list(row) for row in found.ids] == made.sequences[:, width:].tolist()
    logits = torch.stack(made.logits, dim=1).numpy()
    chosen = np.take_along_axis(logits, np.array(found.ids)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(np.array(found.logits), chosen, rtol=0, atol=1e-4 * np.abs(logits).max())


def test_the_bundled_models_text_is_that_of_transformers() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from landed_jax.checkpoints.bundle import bundled_folder

    folder, text = bundled_folder(), "The keys near the bottle"
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    read = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        made = theirs.generate(
            read["input_ids"], attention_mask=read["attention_mask"], max_new_tokens=58, do_sample=False, pad_token_id=0
        )
    # 58 tokens and the prompt's 6 are all of the positions that the model was made for.
    found = landed.load().generate(text, 58)
    assert list(found.ids[0]) == made[0, read["input_ids"].shape[1] :].tolist()
    ended = made[0, -1].item() == tokenizer.eos_token_id
    assert found.finish_reason == ("stop" if ended else "length")

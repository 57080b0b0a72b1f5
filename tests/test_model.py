"""The model as users hold it: opened from every kind of source, encoding, tracing, saving."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.model import Model, convert, load, read_config
from landed_jax.nn.hook_points import RESIDUALS, HookPoint
from landed_jax.nn.parameters import init_params, is_stacked
from landed_jax.tokens import Tokens
from tests.checkpoints import CONFIG, assert_same, make_tensors, write_checkpoint
from tests.compiling import compilations
from tests.needs import NO_TORCH

PROMPT = "The Colosseum is in the city of"


@pytest.fixture(scope="module")
def plain() -> Model:
    return Model(CONFIG, init_params(CONFIG, jax.random.key(0)), source="plain")


@pytest.fixture(scope="module")
def bundled() -> Model:
    return load(bundled_folder())


@pytest.mark.quick
def test_the_trace_is_forwards(plain):
    ids = jnp.array([[1, 5, 7], [2, 3, 4]])
    trace = plain.trace(ids, record=RESIDUALS)
    logits, expected = jax.jit(lambda p, i: forward(p, i, CONFIG, record=RESIDUALS))(plain.params, ids)
    np.testing.assert_array_equal(trace.logits, logits)
    assert set(trace.sown) == {site.value for site in RESIDUALS}
    np.testing.assert_array_equal(trace.residual, expected.residual)
    assert trace.weights() is plain.params


@pytest.mark.quick
@pytest.mark.parametrize(
    ("at", "columns"),
    [(None, [0, 1, 2]), (-1, [2]), (1, [1]), ([0, -1], [0, 2]), (np.int64(-3), [0]), ((2, 2), [2, 2])],
)
def test_columns(plain, at, columns):
    ids = jnp.array([[1, 5, 7], [2, 3, 4]])
    trace = plain.trace(ids, at=at)
    assert trace.at.tolist() == columns
    np.testing.assert_allclose(trace.logits, plain.trace(ids).logits[:, np.array(columns)], rtol=0, atol=2e-6)


@pytest.mark.parametrize("at", [3, -4, [0, 3], [], 0.5, "last", [[0]], [True]])
def test_columns_that_are_not_there(plain, at):
    with pytest.raises(LandedError, match="at="):
        plain.trace(jnp.array([[1, 5, 7]]), at=at)


def test_another_column_does_not_compile_again(plain):
    ids = jnp.array([[1, 5, 7, 9, 2]])
    plain.trace(ids, at=0)
    others = ids + 1
    with compilations() as compiled:
        plain.trace(ids, at=3)
        plain.trace(others, at=-1)
    assert compiled == []


def test_edits_and_dtypes(plain):
    ids = jnp.array([[1, 5, 7]])
    silent = plain.trace(ids, edits={HookPoint.MLP_WRITE: lambda value, _: jnp.zeros_like(value)})
    assert not np.array_equal(silent.logits, plain.trace(ids).logits)
    with jax.enable_x64(True):
        assert plain.trace(ids, dtype="float64").logits.dtype == np.float64
        assert plain.trace(ids, dtype="float32").logits.dtype == np.float32
    with pytest.raises(LandedError, match="float32 or float64"):
        plain.trace(ids, dtype="bfloat16")


def test_lists_of_unequal_length_give_what_each_gives_alone(plain):
    batch = plain.trace([[1, 5, 7, 9], [3, 2]], at=-1)
    for row, prompt in enumerate(([1, 5, 7, 9], [3, 2])):
        np.testing.assert_allclose(batch.logits[row], plain.trace([prompt], at=-1).logits[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "tokens",
    [
        jnp.array([[1, 24]]),
        np.array([[1, -1]]),
        [[1, 24]],
        [[1, 2**40]],
        [[1.5]],
        [["a"]],
        Tokens(jnp.array([[99]]), jnp.array([[True]])),
    ],
    ids=str,
)
def test_ids_out_of_the_vocabulary(plain, tokens):
    with pytest.raises(LandedError, match="ids run from 0 to 23"):
        plain.trace(tokens)


@pytest.mark.parametrize(
    "tokens",
    [
        [1, 2],
        [],
        [[]],
        jnp.zeros((1, 2, 3), int),
        jnp.ones((1, 2)),
        jnp.zeros((1, 0), int),
        Tokens(jnp.array([1]), jnp.array([True])),
        Tokens(jnp.array([[1, 2]]), jnp.array([[True]])),
    ],
    ids=str,
)
def test_ids_of_the_wrong_shape(plain, tokens):
    with pytest.raises(LandedError):
        plain.trace(tokens)


def test_text_needs_a_tokenizer(plain):
    for text in ("hello", ["hello", "you"]):
        with pytest.raises(LandedError, match="'plain' came without a tokenizer"):
            plain.trace(text)


def test_folders_of_both_kinds_give_the_same_model(tmp_path):
    params, tensors = make_tensors(dtype="bfloat16")
    src = write_checkpoint(tmp_path / "src", tensors)
    convert(src, tmp_path / "native")
    for folder in (src, tmp_path / "native", str(src)):
        model = load(folder)
        assert (model.config, model.vocabulary, model.source) == (CONFIG, None, str(folder))
        assert_same(model.params, params)
        assert is_stacked(load(folder, stacked=True).params)
    convert(tmp_path / "native", tmp_path / "again")
    load(src, stacked=True).save(tmp_path / "saved")
    for folder in (tmp_path / "again", tmp_path / "saved"):
        assert_same(load(folder).params, params)


@pytest.mark.quick
def test_the_config_alone(tmp_path):
    _, tensors = make_tensors(dtype="bfloat16")
    src = write_checkpoint(tmp_path / "src", tensors)
    convert(src, tmp_path / "native")
    assert read_config(src) == (CONFIG, None)  # this config.json does not say
    assert read_config(tmp_path / "native") == (CONFIG, "bfloat16")


def test_the_layout_is_hidden(tmp_path):
    _, tensors = make_tensors()
    src = write_checkpoint(tmp_path, tensors)
    ids = jnp.array([[1, 5, 7]])
    unrolled, stacked = (load(src, stacked=stacked).trace(ids) for stacked in (False, True))
    np.testing.assert_allclose(stacked.logits, unrolled.logits, rtol=0, atol=2e-6)


@pytest.mark.parametrize("devices", [2, 8])
def test_on_a_mesh_the_numbers_are_the_same(tmp_path, devices):
    _, tensors = make_tensors()
    convert(write_checkpoint(tmp_path / "src", tensors), tmp_path / "native")
    ids = jnp.array([[1, 5, 7]])
    expected = load(tmp_path / "src").trace(ids).logits
    mesh = jax.make_mesh((devices,), ("model",), devices=jax.devices()[:devices])
    for folder, stacked in ((tmp_path / "src", False), (tmp_path / "native", True)):
        logits = load(folder, mesh=mesh, stacked=stacked).trace(ids).logits
        np.testing.assert_allclose(logits, expected, rtol=0, atol=4e-6)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(LandedError, match=r"has no config\.json"):
        load(tmp_path)
    with pytest.raises(LandedError, match="There is no folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(LandedError, match="not an object"):
        load(tmp_path)


def test_a_failed_conversion_leaves_nothing(tmp_path):
    _, tensors = make_tensors()
    del tensors["model.norm.weight"]
    src = write_checkpoint(tmp_path / "src", tensors)
    with pytest.raises(LandedError, match=r"model\.norm\.weight \[16\] is missing"):
        convert(src, tmp_path / "dst")
    assert [f.name for f in tmp_path.iterdir()] == ["src"]


def test_a_tokenizer_that_cannot_be_read(tmp_path):
    _, tensors = make_tensors()
    (write_checkpoint(tmp_path, tensors) / "tokenizer.json").write_text("{")
    with pytest.raises(LandedError, match=r"tokenizer in .* cannot be read"):
        load(tmp_path)


@pytest.mark.quick
def test_the_real_model_speaks(bundled):
    trace = bundled.trace(PROMPT, at=-1)
    assert trace.logits.shape == (1, 1, 1537)
    assert bundled.vocabulary.text(int(trace.logits[0, 0].argmax())) == " Rome"
    assert trace.vocabulary is bundled.vocabulary
    assert bundled.encode(PROMPT).ids[0, 0] == 1  # the BOS that its tokenizer adds


def test_a_second_real_model_is_the_references(stories):
    """Another program trained it, and its embedding is tied; `testbed/test_bundle.py` does this with the bundled."""
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from transformers import LlamaForCausalLM

    model = load(stories)
    tokens = model.encode("Once upon a time, there was a little")
    with torch.no_grad():
        reference = LlamaForCausalLM.from_pretrained(stories)(torch.tensor(np.asarray(tokens.ids))).logits.numpy()
    error = np.abs(model.trace(tokens).logits - reference).max()
    assert error <= 2e-5 * np.abs(reference).max()


def test_several_prompts_are_padded_on_the_left(bundled):
    tokens = bundled.encode([PROMPT, "The"])
    assert tokens.mask[1].tolist() == [False] * (tokens.ids.shape[1] - 2) + [True, True]
    both = bundled.trace([PROMPT, "The"], at=-1).logits
    np.testing.assert_allclose(both[1], bundled.trace("The", at=-1).logits[0], rtol=0, atol=2e-5)


def test_the_native_folder_holds_all_it_needs(bundled, tmp_path):
    src = tmp_path / "src"
    shutil.copytree(bundled_folder(), src)
    convert(src, tmp_path / "native")
    shutil.rmtree(src)
    model = load(tmp_path / "native")
    assert_same(model.params, bundled.params)
    np.testing.assert_array_equal(model.trace(PROMPT).logits, bundled.trace(PROMPT).logits)
    model.save(tmp_path / "copy")
    assert load(tmp_path / "copy").encode(PROMPT).ids.tolist() == bundled.encode(PROMPT).ids.tolist()


def test_a_model_can_be_changed_by_replacing(bundled):
    silent = dataclasses.replace(bundled, params=jax.tree.map(jnp.zeros_like, bundled.params))
    assert float(jnp.abs(silent.trace(PROMPT).logits).max()) == 0.0

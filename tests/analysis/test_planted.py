"""What was planted comes out of every analysis that should find it: by name, first in the list."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, SOURCES, WRITES, Write
from landed_jax.analysis.writes._write import describe
from landed_jax.interventions import chosen_neurons, every_head, every_layer_and_position, sweep
from landed_jax.testbed.planted import CONFIG, cancelling_writes, copying_head, null_space_neuron, writing_neuron

EVERYTHING = WRITES | RESIDUALS | SOURCES


def test_the_copying_head_is_found_by_every_road() -> None:
    planted = copying_head(layer=1, head=4, source=3)
    trace = planted.trace(EVERYTHING)
    (write,) = planted.writes
    picture = landed.attribution.token_contributions(trace, planted.target).overall[0, -1]
    assert int(picture.argmax()) == 3
    matrix = landed.landing.landing_matrix(trace, landed.resolve(trace, landed.Logit(planted.target)).vector[:, -1:])
    assert matrix.projection is not None
    heads = np.asarray(matrix.projection.final.heads[:, 0, -1])
    assert np.unravel_index(heads.argmax(), heads.shape) == (1, 4)
    alone = landed.attribution.group_effect(
        trace, planted.target, group=landed.attribution.write_group(CONFIG, [Write("head", 1, 4)])
    )
    rest = landed.attribution.group_effect(trace, planted.target, group=landed.attribution.layer_group(CONFIG, 2))
    assert float(alone.effect[0, -1]) > 5 * abs(float(rest.effect[0, -1]))
    lens = landed.logit_lens(trace, planted.target)
    steps = np.asarray(lens.final_sigma_contributions[:, 0, -1])
    assert lens.groups[int(steps.argmax())] == f"{write.layer}.attn_write"


def test_the_writing_neuron_drives_the_difference_and_nothing_else_does() -> None:
    planted = writing_neuron(layer=1, neuron=7)
    trace = planted.trace(EVERYTHING)
    work = landed.attribution.operations(trace, landed.Logit(planted.target, against=planted.against))
    assert int(jnp.argmax(work.mlp_net[:, 0, -1])) == 1
    assert int(work.fewest[0, 0, -1]) == 1  # one write carries half of the difference
    found = landed.attribution.attribute_log_probability(trace, planted.target)
    neurons = np.asarray(found.direct_effect.neurons[:, 0, -1])
    assert np.unravel_index(neurons.argmax(), neurons.shape) == (1, 7)


def test_who_drives_the_writing_neuron() -> None:
    planted = writing_neuron(layer=1, neuron=7)
    trace = planted.trace(EVERYTHING)
    drive = landed.attribute(trace, landed.Neuron(1, 7, "gate"))
    assert describe(drive.top(1)[0]) == "embedding"  # it fires at a token, which the embedding alone names
    assert float(drive.closure_error[0, -1]) < 1e-5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_null_space_neuron_is_the_loudest(seed: int) -> None:
    as_is = null_space_neuron(neuron=9, seed=seed)
    assert describe(landed.attribution.volume(as_is.trace(), as_is.target).top(1)[0]) == describe(as_is.writes[0])
    planted = null_space_neuron(neuron=9, seed=seed)
    trace = planted.trace(EVERYTHING)
    (write,) = planted.writes
    directions = landed.attribution.weak_directions(trace, 4 / CONFIG.d_model)  # W_U has four columns of zeros
    first = landed.attribution.volume(trace, planted.target, directions=directions).top(1)[0]
    assert describe(first) == describe(write)
    assert first.weak > 0.999 and first.ratio > 0.999
    shares = landed.attribution.sigma_shares(trace, site="final").shares
    neurons = np.asarray(shares.neurons[:, 0, -1])
    assert np.unravel_index(neurons.argmax(), neurons.shape) == (write.layer, write.index)


def test_cancelling_writes_show_as_gross_without_net() -> None:
    planted = cancelling_writes()
    trace = planted.trace(EVERYTHING)
    head, neuron = (next(w for w in planted.writes if w.kind == kind) for kind in ("head", "neuron"))
    work = landed.attribution.operations(trace, planted.target)
    assert head.layer is not None and neuron.layer is not None
    gross = float(work.attn_gross[head.layer, 0, -1] + work.mlp_gross[neuron.layer, 0, -1])
    both = landed.attribution.group_effect(
        trace, planted.target, group=landed.attribution.write_group(trace.config, [head, neuron])
    )
    assert abs(float(both.landed[0, -1])) < 1e-4 * gross
    each = [
        landed.attribution.group_effect(
            trace, planted.target, group=landed.attribution.write_group(trace.config, [w])
        ).landed[0, -1]
        for w in (head, neuron)
    ]
    assert min(abs(float(value)) for value in each) > 0.3 * gross


def test_the_coordinates_that_were_planted_carry_the_copy() -> None:
    planted = copying_head()
    trace = planted.trace(EVERYTHING)
    found = landed.coordinates(trace, planted.target)
    count = int(found.settled_count(0.9)[0, -1])
    control = landed.basis.rotated_counts(trace, planted.target, key=jax.random.key(0))
    assert count < float(control.settled_mean[1, 0, -1])
    check = landed.basis.check_coordinates(trace, planted.target, fraction=0.9)
    assert int(check.kept.rank[0, -1]) == 0  # those coordinates alone still name the token
    assert int(check.ablated.rank[0, -1]) > 0


def test_sweeps_find_what_was_planted() -> None:
    head, neuron = copying_head(layer=1, head=4, source=3), writing_neuron(layer=1, neuron=7)
    for planted, stack in (
        (head, every_head(CONFIG)),
        (neuron, chosen_neurons([(layer, index) for layer in range(CONFIG.n_layers) for index in range(10)])),
    ):
        model = landed.Model(planted.trace().config, planted.trace().weights())
        effect = np.asarray(sweep(model, planted.trace().tokens, stack, planted.target).effect)[..., 0, 0]
        place = np.unravel_index(effect.argmax(), effect.shape)
        assert place == (1, 4) if planted is head else stack.axes["neuron"][place[0]] == "1.7"
    # What the copying head copies stands at position 3: without the embedding there, and nowhere else, it is lost.
    model, tokens = landed.Model(head.trace().config, head.trace().weights()), head.trace().tokens
    columns = every_layer_and_position(CONFIG, tokens.ids.shape[1], ["attn_residual"])
    effect = np.asarray(sweep(model, tokens, columns, head.target).effect)[0, 1, :, 0, 0]
    assert int(effect[:-1].argmax()) == 3

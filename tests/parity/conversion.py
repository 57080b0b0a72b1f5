"""From a model of `transformers` to the package's configuration and parameters, by the road that a user takes."""

from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import PreTrainedModel

from landed_jax.checkpoints.hf.reader import read_params
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, survey_folder
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params


def convert(model: PreTrainedModel) -> tuple[ModelConfig, Params]:
    """Save the model as a Hugging Face folder, and read that."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        survey = survey_folder(Path(folder), Reading(), Notes())
        return survey.config, read_params(survey)

"""Where a model is: a local folder or GGUF file, or the download of a Hugging Face id."""

import os
import re
from pathlib import Path

from landed_jax.checkpoints.bundle import BUNDLED, bundled_folder
from landed_jax.checkpoints.gguf.header import is_gguf
from landed_jax.checkpoints.hf.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from landed_jax.checkpoints.hf.files import PICKLES, no_pickles
from landed_jax.checkpoints.hf.remote import copied, is_remote, without_secrets
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.errors import LandedError
from landed_jax.files.kinds import expanded, is_folder, is_ordinary
from landed_jax.files.wrong_content import wrong_content

# Weights in safetensors only, and no Python files.
_CONFIG = ("config.json", ADAPTER_CONFIG)
_ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
_WITHOUT_WEIGHTS = (*_CONFIG, *TOKENIZER_FILES)
_MODEL = (*_WITHOUT_WEIGHTS, "generation_config.json", "model*.safetensors", "model.safetensors.index.json")
_NAME = r"[A-Za-z0-9][\w.-]*"
_ID = re.compile(rf"(?P<name>{_NAME}(/{_NAME})?)(@(?P<revision>[\w./-]+))?")
_OFFLINE = "Without a network, a folder in Hugging Face layout, a folder written by `landed convert`, or an id that is \
already in the cache can be opened."


def resolve(source: str | os.PathLike[str], *, config_only: bool = False) -> Path:
    """The folder that `source` names, or the GGUF file.

    Args:
        source: a folder, a GGUF file, either of them in an object store (``gs://…``), a Hugging Face id such as
            ``meta-llama/Llama-3.2-1B``, or ``"bundled"``. An id's branch, tag or commit stands behind an @:
            ``EleutherAI/pythia-70m@step1000``.
        config_only: for an id, download no weights.

    Raises:
        LandedError: if there is no such folder, or the id cannot be downloaded: no network, no access, no such model or
            revision.
    """
    if source == BUNDLED:
        return bundled_folder()
    if is_gguf(path := expanded(source)):
        return path
    return _resolve(source, _CONFIG if config_only else _MODEL)


def named(source: str | os.PathLike[str]) -> str:
    """How results name a model: by `source`, without what may be secret in a URL."""
    return without_secrets(os.fspath(source)) if is_remote(source) else str(source)


def resolve_without_weights(source: str | os.PathLike[str]) -> Path:
    """The folder that `source` names, as `resolve`; of an id, the config and the tokenizer are downloaded.

    Raises:
        LandedError: as `resolve` does.
    """
    return bundled_folder() if source == BUNDLED else _resolve(source, _WITHOUT_WEIGHTS)


def _resolve(source: str | os.PathLike[str], wanted: tuple[str, ...]) -> Path:
    if is_remote(source):
        return copied(os.fspath(source), wanted)
    path = expanded(source)
    if is_folder(path):
        return _readable(path)
    if path.exists():
        if path.suffix == ".gguf" and is_ordinary(path) and (instead := wrong_content(path)) is not None:
            raise LandedError(f"{path} is {instead}.")
        raise LandedError(f"{path} is a file, and no GGUF: give the folder that holds config.json and the weights.")
    if isinstance(source, str) and (asked := _ID.fullmatch(source)):
        return _download(asked["name"], asked["revision"], wanted)
    raise LandedError(f"There is no folder {str(source)!r}, and it is not a Hugging Face id (owner/name) either.")


def _readable(folder: Path) -> Path:
    """The same folder. The libraries that read weights and tokenizers take its name as UTF-8."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise LandedError(f"The path {folder} is not UTF-8, which the libraries that read models need.") from None
    return folder


def resolve_adapter(source: str | os.PathLike[str]) -> Path:
    """The folder of an adapter that `source` names: a folder, or a Hugging Face id.

    Raises:
        LandedError: as `resolve` does.
    """
    return _resolve(source, _ADAPTER)


def _download(name: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(wanted)))
    except errors.HFValidationError as error:
        raise LandedError(f"There is no folder {name!r}, and it is not a Hugging Face id either: {error}") from error
    except errors.GatedRepoError as error:
        why = "its owner gives access on request: ask on its page, then run `hf auth login`"
        raise LandedError(f"{name} could not be downloaded: {why}. {_OFFLINE}") from error
    except errors.RevisionNotFoundError as error:
        raise LandedError(f"{name} has no branch, tag or commit {revision!r} on the Hugging Face Hub.") from error
    except errors.RepositoryNotFoundError as error:
        why = "there is no such folder here, and no such model on the Hugging Face Hub (or it is private)"
        raise LandedError(f"{name} could not be opened: {why}. {_OFFLINE}") from error
    except Exception as error:  # errors of the HTTP stack have many types; all mean that the Hub was not reached
        why = f"there is no such folder here, and the Hugging Face Hub did not give it ({type(error).__name__})"
        raise LandedError(f"{name} could not be opened: {why}. {_OFFLINE}") from error
    if wanted == _MODEL and not any(folder.glob("*.safetensors")):
        _refuse_pickles(name, revision)
    return folder


def _refuse_pickles(name: str, revision: str | None) -> None:
    """Say of a model without safetensors which weights it has, where the Hub can be asked."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(name, revision=revision)
    except Exception:  # as in `_download`; the model is refused in any case
        return
    if pickles := [file for file in files if file.endswith(PICKLES) and "/" not in file]:
        raise LandedError(no_pickles(f"{name} on the Hugging Face Hub", pickles))

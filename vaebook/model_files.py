"""Whole models in one file: weights, and the configuration that they belong to.

The file is a safetensors file, which other programs read, too. Its header holds, as JSON, what the
model is made of, layer by layer, and a checksum. So it is loaded without the code that built the
model, runs no code of its own, and a damaged one is noticed::

    save_model(vae, "digits.safetensors")
    vae = load_model("digits.safetensors")
"""

from __future__ import annotations

import hashlib
import json
import os
from numbers import Integral
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from vaebook._checks import fail
from vaebook._files import write_atomically
from vaebook.autoregressive import CategoricalMADE
from vaebook.conditional import ConditionalVAE, SemiSupervisedVAE
from vaebook.flows import AutoregressiveFlow, FlowVAE
from vaebook.hierarchy import BottomUp, HierarchicalVAE, Ladder, LayeredPrior, TopDown
from vaebook.likelihoods import (
    Bernoulli,
    CausalBernoulli,
    CausalLogistic,
    CausalNetwork,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
)
from vaebook.networks import ResidualBlock
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.vae import VAE, Encoder
from vaebook.vector_quantization import VQVAE, Codebook

# What a file can name, and the arguments of each, which are its attributes, too. A file of another
# version that names something else is refused.
PARTS: dict[type, tuple[str, ...]] = {
    VAE: ("encoder", "decoder", "likelihood", "prior"),
    HierarchicalVAE: ("encoder", "decoder", "likelihood", "prior"),
    FlowVAE: ("trunk", "encoder", "flow", "decoder", "likelihood", "prior"),
    ConditionalVAE: ("encoder", "decoder", "likelihood", "prior", "n_condition"),
    SemiSupervisedVAE: (
        *("classifier", "encoder", "decoder", "likelihood", "prior", "n_condition"),
    ),
    VQVAE: ("encoder", "decoder", "likelihood", "codebook", "prior"),
    Encoder: ("network",),
    BottomUp: ("lower", "upper"),
    TopDown: ("trunk", "upper", "lower"),
    Ladder: ("trunk", "upper", "lower"),
    AutoregressiveFlow: ("n_latents", "n_steps", "hidden", "n_context"),
    Codebook: ("n_codes", "n_dims", "decay"),
    CategoricalMADE: ("n_positions", "n_values", "hidden"),
    Bernoulli: (),
    Gaussian: ("std",),
    ContinuousBernoulli: (),
    CausalBernoulli: ("height", "width", "reach"),
    CausalNetwork: ("height", "width", "reach", "n_hidden"),
    DiscretizedLogistic: ("n_components", "n_levels"),
    CausalLogistic: ("image", "reach", "n_components", "n_levels"),
    StandardNormal: ("n_latents",),
    MixturePrior: ("n_latents", "n_components"),
    LayeredPrior: ("layers", "below"),
    ResidualBlock: ("width",),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.LayerNorm: ("normalized_shape",),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    nn.ConvTranspose2d: (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding"),
    ),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.SiLU: (),
    nn.ReLU: (),
    nn.GELU: (),
    nn.Tanh: (),
    nn.Dropout: ("p",),
}
# What a file can hold.
MODELS = (VAE, HierarchicalVAE, FlowVAE, ConditionalVAE, SemiSupervisedVAE, VQVAE)
NAMES = {part.__name__: part for part in PARTS}


def save_model(model: VAE | ConditionalVAE | VQVAE, path: str | os.PathLike[str]) -> None:
    """Write a VAE to a file that :func:`load_model` reads.

    The file is written whole or not at all; one that was there before is replaced.

    Parameters
    ----------
    model
        A VAE of the package's likelihoods, priors and networks (:func:`vaebook.vae.mlp_vae` and
        so on), or of PyTorch's layers in a ``torch.nn.Sequential``, as far as `PARTS` lists them.
    path
        Where to; by convention it ends in ``.safetensors``.

    Raises
    ------
    ValueError
        If the model has a part that a file cannot describe. Nothing is written.
    OSError
        If `path` cannot be written.
    """
    if type(model) not in MODELS:
        fail("model", "one of " + ", ".join(kind.__name__ for kind in MODELS), type(model).__name__)
    configuration = _describe(model, "model")
    if repr(_build(configuration)) != repr(model):  # an option that PARTS leaves out
        fail("model", "layers whose options model_files.PARTS lists, all else as usual", model)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) > 1:
        fail("model", "weights of one type", dtypes)
    entry = {"model": configuration, "sha256": _checksum(configuration, weights)}
    # one entry: the library writes several in an order that changes from run to run
    header = {"vaebook": json.dumps(entry)}
    write_atomically(Path(path).expanduser(), safetensors.torch.save(weights, header))


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read a model that :func:`save_model` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    VAE, ConditionalVAE or VQVAE
        The model, on the CPU, in the mode of evaluation.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        If the file is damaged, or was not written by :func:`save_model`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"path: wanted a file written by save_model, got {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {})["vaebook"])
            configuration, checksum = entry["model"], entry["sha256"]
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        fail("path", "a file written by save_model", f"{path}: {error!r}")
    if _checksum(configuration, weights) != checksum:
        fail("path", "the file as it was saved", f"{path}, whose checksum differs: it is damaged")
    try:
        model = _build(configuration)
        dtypes = {value.dtype for value in weights.values()}
        model.to(dtypes.pop()).load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        fail("path", "a model of this version of vaebook", f"{path}: {error!r}")
    return model.eval()


def _describe(part: Any, place: str) -> Any:
    """Return a part of a model as JSON: its name, and its arguments by name."""
    if part is None or isinstance(part, bool | float | str):
        return part
    if isinstance(part, Integral):
        return int(part)
    if isinstance(part, tuple | list):
        return [_describe(item, place) for item in part]
    if type(part) is nn.Sequential:
        return {"Sequential": [_describe(layer, f"{place}[{i}]") for i, layer in enumerate(part)]}
    if type(part) not in PARTS:
        wanted = "what model_files.PARTS lists (save_weights saves the weights of any other)"
        fail(place, wanted, type(part).__name__)
    arguments = {}
    for name in PARTS[type(part)]:
        value = getattr(part, name, None)
        if name == "bias":  # True or False as an argument, a tensor or None as an attribute
            value = value is not None
        arguments[name] = _describe(value, f"{place}.{name}")
    return {type(part).__name__: arguments}


def _build(description: Any) -> Any:
    """Build what :func:`_describe` described."""
    if isinstance(description, list):
        return tuple(_build(item) for item in description)
    if not isinstance(description, dict):
        return description
    ((name, arguments),) = description.items()
    with torch.random.fork_rng(devices=[]):  # weights are drawn only to be overwritten
        if name == "Sequential":
            return nn.Sequential(*map(_build, arguments))
        return NAMES[name](**{key: _build(value) for key, value in arguments.items()})


def _checksum(configuration: Any, weights: dict[str, Tensor]) -> str:
    """SHA-256 of a model's description and of the name, type, shape and bytes of each weight."""
    digest = hashlib.sha256(json.dumps(configuration).encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

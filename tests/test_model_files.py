"""Whole models in a file: every ready-made one survives; what is damaged or foreign is refused."""

import random
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.common import seeded
from vaebook._files import write_atomically
from vaebook.conditional import conditional_mlp_vae, semi_supervised_mlp_vae
from vaebook.flows import flow_vae
from vaebook.hierarchy import hierarchical_vae
from vaebook.likelihoods import (
    CausalBernoulli,
    CausalLogistic,
    CausalNetwork,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
)
from vaebook.model_files import load_model, save_model
from vaebook.priors import MixturePrior
from vaebook.vae import VAE, Encoder, conv_vae, mlp_vae, residual_vae
from vaebook.vector_quantization import mlp_vqvae


def with_mixture():
    vae = mlp_vae(12, 3, (5,))
    vae.prior = MixturePrior(3, 4)
    return vae


def assembled():
    encoder = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 4))
    decoder = nn.Sequential(nn.Linear(2, 12, bias=False))
    return VAE(Encoder(encoder), decoder, Gaussian(0.5), mlp_vae(12, 2).prior)


MODELS = {
    "perceptron": lambda: mlp_vae(12, 3, (7, 5)),
    "linear": lambda: mlp_vae(12, 3, (), Gaussian(None)),
    "residual": lambda: residual_vae(12, 3, 8, 1, ContinuousBernoulli()),
    "convolutional": lambda: conv_vae(3, 4, DiscretizedLogistic(2, 8), (3, 2, 2)),
    "neighbours": lambda: mlp_vae(12, 3, likelihood=CausalBernoulli(3, 4, 1)),
    "network of neighbours": lambda: mlp_vae(12, 3, likelihood=CausalNetwork(3, 4, 1, 2)),
    "levels": lambda: mlp_vae(12, 3, likelihood=CausalLogistic((3, 2, 2), 1, 2)),
    "mixture prior": with_mixture,
    "double": lambda: mlp_vae(12, 3).double(),
    "bfloat16": lambda: mlp_vae(12, 3).to(torch.bfloat16),
    "channels last": lambda: conv_vae(3, 4, None, (3, 2, 2)).to(memory_format=torch.channels_last),
    "own layers": assembled,
    "bottom-up": lambda: hierarchical_vae(12, (3, 2), (4, 3), "bottom-up"),
    "top-down": lambda: hierarchical_vae(12, (3, 2), (4, 3), "top-down"),
    "ladder": lambda: hierarchical_vae(12, (3, 2), (4, 3), "ladder"),
    "flow": lambda: flow_vae(12, 3, 4, 2, (5,)),
    "conditional": lambda: conditional_mlp_vae(3, 12, 2, (5,)),
    "discrete, moving": lambda: mlp_vqvae(12, 2, 4, 3, (5,)),
    "discrete, gradient": lambda: mlp_vqvae(12, 2, 4, 3, (5,), Gaussian(), decay=None),
    "semi-supervised": lambda: semi_supervised_mlp_vae(3, 12, 2, (5,)),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_model_comes_back_whole(make, path):
    torch.manual_seed(1)
    model = make().eval()
    save_model(model, path)
    state = torch.get_rng_state()
    loaded = load_model(path)
    assert torch.equal(state, torch.get_rng_state())
    assert repr(loaded) == repr(model)
    assert not loaded.training
    assert vars(loaded.likelihood).keys() == vars(model.likelihood).keys()
    weights, expected = loaded.state_dict(), model.state_dict()
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert weight.dtype == expected[name].dtype
        assert torch.equal(weight, expected[name])
    if hasattr(model, "given"):  # what a condition is given to, is a VAE
        loaded, model = (each.given(torch.eye(3)[:1]) for each in (loaded, model))
    assert torch.equal(loaded.sample(5, seeded(2)), model.sample(5, seeded(2)))


def test_the_file_is_read_by_what_reads_safetensors(path):
    model = mlp_vae(12, 3)
    save_model(model, path)
    other = mlp_vae(12, 3).load_weights(path)
    assert torch.equal(other.decoder[0].weight, model.decoder[0].weight)


def test_a_process_that_built_nothing_loads_it(path):
    save_model(conv_vae(3, 4, Gaussian(0.25), (1, 5, 7)), path)
    code = (
        "import sys; from vaebook.model_files import load_model; "
        "vae = load_model(sys.argv[1]); print(vae.sample(2).shape, vae.likelihood.std)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code, str(path)], text=True)
    assert printed.strip() == "torch.Size([2, 35]) 0.25"


def test_no_flipped_bit_passes(path):
    model = with_mixture()
    save_model(model, path)
    content, chance = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(content[:8], "little")
    for i in range(200):  # half of them in the header
        damaged = bytearray(content)
        damaged[chance.randrange(header if i % 2 else len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"^path: wanted .*{path}"):
            load_model(path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_other_files_are_refused(content, path):
    if content is None:
        safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^path: wanted a file written by save_model, got"):
        load_model(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_model(path)


class Mine(nn.Linear):
    pass


def changed(**parts):
    model = mlp_vae(12, 3)
    for name, part in parts.items():
        setattr(model, name, part)
    return model


UNKNOWN = {
    "network": (lambda: changed(decoder=Mine(3, 12)), r"model\.decoder: wanted .*, got Mine"),
    "layer": (
        lambda: changed(decoder=nn.Sequential(nn.Linear(3, 12), nn.Softplus())),
        r"model\.decoder\[1\]: wanted .*, got Softplus",
    ),
    "option": (
        lambda: changed(decoder=nn.Sequential(nn.Linear(3, 12), nn.LayerNorm(12, eps=0.1))),
        "model: wanted layers whose options",
    ),
    "likelihood": (
        lambda: changed(likelihood=type("MyOwn", (Gaussian,), {})()),
        r"model\.likelihood: wanted .*, got MyOwn",
    ),
    "type": (
        lambda: changed(decoder=nn.Linear(3, 12).double()),
        "model: wanted weights of one type",
    ),
    "model": (lambda: nn.Linear(3, 12), r"model: wanted one of VAE, .*, got Linear"),
}


@pytest.mark.parametrize(("make", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_a_file_cannot_describe_is_refused_before_writing(make, message, path):
    path.write_text("before")
    with pytest.raises(ValueError, match=f"^{message}"):
        save_model(make(), path)
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(path, monkeypatch):
    path.write_text("before")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"after")
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]

"""Arrays and networks in a page: what the browser unpacks is what the package had."""

import base64
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from vaebook.interactive.weights import ACTIVATIONS, pack, pack_pixels, quantize
from vaebook.vae import mlp_vae, set_output_bias

UNITS = {name: kind for kind, name in ACTIVATIONS.items()}
KINDS = {"int8": np.int8, "float32": np.dtype("<f4")}


def array(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), KINDS[packed["type"]])


def unpack(layer):
    """Decode one layer: float64 weight and bias."""
    scale, bias = array(layer["scale"]).astype(float), array(layer["bias"]).astype(float)
    weight = array(layer["weight"]).reshape(len(bias), -1) * scale[:, None]
    return torch.tensor(weight), torch.tensor(bias)


def rounded(network, layers):
    """Rebuild a network in float64 with the weights that the page gets."""
    network = nn.Sequential(*network).double()
    for module, layer in zip([m for m in network if isinstance(m, nn.Linear)], layers, strict=True):
        weight, bias = unpack(layer)
        module.weight.data, module.bias.data = weight, bias
    return network


def make_network(unit=nn.SiLU, sizes=(2, 20, 30, 64)):
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    return nn.Sequential(*(m for layer in layers for m in (layer, unit())))[:-1]


@pytest.mark.parametrize("last", ["sigmoid", "identity"])
@pytest.mark.parametrize("activation", sorted(UNITS))
def test_browser_computes_as_the_package_does(evaluate, activation, last):
    network = make_network(UNITS[activation])
    layers = quantize(network, last)
    z = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-3.0, 0.25]], dtype=torch.float64)
    with torch.no_grad():
        expected = rounded(network, layers)(z)
    expected = torch.sigmoid(expected) if last == "sigmoid" else expected
    expression = "a[1].map((z) => [...vaebookLive.network(a[0])(z)])"
    computed = evaluate("elbo_explorer", expression, layers, z.tolist())
    np.testing.assert_allclose(computed, expected.numpy(), rtol=0, atol=1e-12)


def test_rounded_weights_are_within_half_a_step():
    network = make_network()
    layers = quantize(network)
    linear = [module for module in network if isinstance(module, nn.Linear)]
    for module, layer in zip(linear, layers, strict=True):
        weight, bias = unpack(layer)
        step = module.weight.detach().double().abs().amax(1, keepdim=True) / 127
        assert ((weight - module.weight).abs() <= 0.5001 * step).all()
        assert torch.equal(bias.float(), module.bias.detach())
    assert [layer["activation"] for layer in layers] == ["silu", "silu", "sigmoid"]


def test_rounding_hardly_changes_the_images():
    torch.manual_seed(0)
    vae = mlp_vae(n_latents=2, hidden=(400,))
    set_output_bias(vae, torch.linspace(0, 1, 784))
    network = nn.Sequential(*vae.decoder)
    # Weights as large as those of a trained decoder: the images then range over (0, 1).
    for module in network:
        if isinstance(module, nn.Linear):
            module.weight.data *= 3
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = torch.sigmoid(network(z)).double()
        near = torch.sigmoid(rounded(network, quantize(network))(z.double()))
    assert exact.std() > 0.1
    assert (near - exact).abs().max() < 0.02


def test_layer_of_zeros_is_no_division_by_zero():
    layer = nn.Linear(2, 4)
    nn.init.zeros_(layer.weight)
    weight, _ = unpack(quantize(layer)[0])
    assert (weight == 0).all()


@pytest.mark.parametrize("kind", ["int8", "uint8", "float32"])
def test_browser_unpacks_arrays(evaluate, kind):
    values = np.array([[-2, 0], [1.5, 100]]).clip(0 if kind == "uint8" else None).astype(kind)
    seen = evaluate("elbo_explorer", "[...vaebookLive.array(a[0])]", pack(values))
    assert seen == values.ravel().tolist()


def test_arrays_of_other_types_are_refused():
    with pytest.raises(ValueError, match="float64"):
        pack(np.zeros(2))


def test_pixels_are_bytes():
    packed = pack_pixels(torch.tensor([[0.0, 0.5, 1.0]]))
    assert list(base64.b64decode(packed["data"])) == [0, 128, 255]
    with pytest.raises(ValueError, match="\\[0, 1\\]"):
        pack_pixels([[1.5]])
    with pytest.raises(ValueError, match="\\[0, 1\\]"):
        pack_pixels([[float("nan")]])


@pytest.mark.parametrize(
    "network",
    [nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 4)), nn.Conv2d(1, 1, 3)],
)
def test_other_layers_are_refused(network):
    with pytest.raises(ValueError, match="network: wanted linear layers and ReLU, SiLU or tanh"):
        quantize(network)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(2, 4), nn.Linear(4, 4)],
        [nn.ReLU(), nn.Linear(2, 4), nn.ReLU()],
        [nn.Linear(2, 4), nn.ReLU()],
    ],
)
def test_another_order_is_refused(layers):
    with pytest.raises(ValueError, match="network: wanted linear layers with one activation"):
        quantize(nn.Sequential(*layers))

"""Live figures: the browser's arithmetic against the package's, and use by keyboard and pointer."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from torch import nn

from vaebook import interactive
from vaebook.gaussian import LinearGaussian, kl_diagonal, kl_to_standard_normal
from vaebook.likelihoods import Gaussian
from vaebook.vae import conv_vae, mlp_vae, set_output_bias

RUNNER = Path(__file__).parents[1] / "book" / "_static" / "vaebook-widgets.js"

# As book/_static/vaebook.css has them.
COLOURS = {
    "light": {"ink": "#1b2430", "paper": "#fcfbf8", "blue": "#1d5fa8", "vermilion": "#b3300f"},
    "dark": {"ink": "#e4e7ec", "paper": "#12161c", "blue": "#82b6f2", "vermilion": "#f58f66"},
}


def unpack(layer):
    """Decode one layer of the state: float64 weight and bias."""
    weight = np.frombuffer(base64.b64decode(layer["weight"]), np.int8)
    scale = np.frombuffer(base64.b64decode(layer["scale"]), "<f4").astype(float)
    bias = np.frombuffer(base64.b64decode(layer["bias"]), "<f4").astype(float)
    return torch.tensor(weight.reshape(len(bias), -1) * scale[:, None]), torch.tensor(bias)


def rounded_decoder(vae, layers):
    """Rebuild the decoder in float64 with the weights that the page gets."""
    decoder = nn.Sequential(*vae.decoder).double()
    for module, layer in zip([m for m in decoder if isinstance(m, nn.Linear)], layers, strict=True):
        weight, bias = unpack(layer)
        module.weight.data, module.bias.data = weight, bias
    return decoder


def evaluate(page, module, expression, *arguments):
    """Run an expression in the browser with the module's exports at hand as `m`."""
    page.goto("about:blank")
    script = """async ([source, expression, values]) => {
        const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
        return new Function("m", "...a", `return ${expression}`)(await import(url), ...values);
    }"""
    return page.evaluate(script, [interactive._text(f"{module}.js"), expression, arguments])


@pytest.fixture
def vae():
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    return mlp_vae(n_pixels=64, n_latents=2, hidden=(30, 20))


@pytest.fixture
def show(page, tmp_path):
    """Put a figure on a bare page with the book's runner; collect what the console says."""

    def open_page(figure, theme="light"):
        variables = "".join(f"--vb-{name}: {colour};" for name, colour in COLOURS[theme].items())
        page.messages = []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        content = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>figure</title>'
            '<meta name="viewport" content="width=device-width">'
            f"<style>:root {{ {variables} }}"
            "body { color: var(--vb-ink); background: var(--vb-paper) }</style>"
            f"</head><body><main><h1>Figure</h1>{figure._repr_html_()}</main>"
            f"<script>{RUNNER.read_text()}</script></body></html>"
        )
        file = tmp_path / "page.html"
        file.write_text(content, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector(".vaebook-live")
        return page

    return open_page


# --- the browser's arithmetic -------------------------------------------------------------------


@pytest.mark.parametrize("activation", sorted(interactive.ACTIVATIONS.values()))
def test_browser_decodes_as_the_package_does(page, vae, activation):
    unit = {name: kind for kind, name in interactive.ACTIVATIONS.items()}[activation]
    vae.decoder = nn.Sequential(
        *(module if isinstance(module, nn.Linear) else unit() for module in vae.decoder)
    )
    layers = interactive.latent_explorer(vae).state["layers"]
    z = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-3.0, 0.25]], dtype=torch.float64)
    with torch.no_grad():
        expected = torch.sigmoid(rounded_decoder(vae, layers)(z)).numpy()
    expression = "a[1].map((z) => m.decode(m.unpack(a[0]), z))"
    decoded = evaluate(page, "latent_explorer", expression, layers, z.tolist())
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=1e-12)


def test_rounded_weights_are_within_half_a_step(vae):
    layers = interactive.quantize(vae.decoder)
    linear = [module for module in vae.decoder if isinstance(module, nn.Linear)]
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
    # Weights as large as those of a trained decoder: the images then range over (0, 1).
    for module in vae.decoder:
        if isinstance(module, nn.Linear):
            module.weight.data *= 3
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = vae.decode(z).double()
        rounded = torch.sigmoid(rounded_decoder(vae, interactive.quantize(vae.decoder))(z.double()))
    assert exact.std() > 0.1
    assert (rounded - exact).abs().max() < 0.02


def test_layer_of_zeros_is_no_division_by_zero():
    layer = nn.Linear(2, 4)
    nn.init.zeros_(layer.weight)
    weight, _ = unpack(interactive.quantize(layer)[0])
    assert (weight == 0).all()


@pytest.mark.parametrize(
    "q", [{"mean": -0.5, "log_std": 0.0}, {"mean": 2.0, "log_std": -1.4}, {"mean": 0, "log_std": 1}]
)
def test_browser_has_the_package_s_elbo(page, q):
    model = {"weight": 1.3, "offset": -0.4, "noise_std": 0.6, "x": 1.5}
    now = evaluate(page, "elbo_explorer", "m.terms(a[0])", {**model, **q})
    one = {"dtype": torch.float64}
    linear = LinearGaussian(torch.tensor([[1.3]], **one), torch.tensor([-0.4], **one), 0.6**2)
    x = torch.tensor([[1.5]], **one)
    mean = torch.tensor([[float(q["mean"])]], **one)
    log_var = torch.tensor([[2.0 * q["log_std"]]], **one)
    posterior_mean, posterior_cov = linear.posterior(x)
    expected = {
        "logP": linear.log_prob(x),
        "elbo": linear.elbo(x, mean, log_var.exp()),
        "klPrior": kl_to_standard_normal(mean, log_var),
        "klPosterior": kl_diagonal(mean, log_var, posterior_mean, posterior_cov.log()),
        "posteriorMean": posterior_mean,
        "posteriorStd": posterior_cov.sqrt(),
    }
    for name, value in expected.items():
        assert now[name] == pytest.approx(value.item(), abs=1e-10), name
    assert now["elbo"] + now["klPosterior"] == pytest.approx(now["logP"], abs=1e-10)
    assert now["elbo"] == pytest.approx(now["reconstruction"] - now["klPrior"], abs=1e-10)


def test_nearest_code(page):
    codes = [[0, 0], [2, 2], [-1, 0.5]]
    expression = "a[1].map((z) => m.nearest(a[0], z))"
    points = [[0.2, -0.1], [5, 5], [-0.8, 0.4]]
    assert evaluate(page, "latent_explorer", expression, codes, points) == [0, 1, 2]


# --- use ----------------------------------------------------------------------------------------


@pytest.fixture
def explorer(vae):
    codes = torch.tensor([[0.0, 0.0], [2.0, 2.0], [-2.0, 1.0]])
    return interactive.latent_explorer(vae, codes, torch.tensor([3, 1, 7]))


def test_latent_explorer_by_keyboard(show, explorer):
    page = show(explorer)
    output = page.locator(".vaebook-live > output")
    assert output.inner_text() == "z = (0.00, 0.00); the nearest encoded image is a 3"
    before = page.locator(".vaebook-image").evaluate("c => c.toDataURL()")
    page.locator(".vaebook-pad").focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert output.inner_text().startswith("z = (1.50, 0.10);")
    image = page.locator(".vaebook-image")
    assert image.evaluate("c => c.toDataURL()") != before
    assert image.get_attribute("aria-label").startswith("Decoded image at z = (1.50, 0.10)")
    values = [slider.input_value() for slider in page.get_by_role("slider").all()]
    assert [float(value) for value in values] == pytest.approx([1.5, 0.1])
    page.keyboard.press("Home")
    assert output.inner_text().startswith("z = (0.00, 0.00);")
    assert image.evaluate("c => c.toDataURL()") == before


def test_latent_explorer_by_pointer_and_slider(show, explorer):
    page = show(explorer)
    output = page.locator(".vaebook-live > output")
    box = page.locator(".vaebook-pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 5 / 6, box["y"] + box["height"] / 6)
    page.mouse.up()
    x, y = map(float, re.findall(r"-?\d\.\d+", output.inner_text()))
    assert (x, y) == pytest.approx((2, 2), abs=0.05)
    assert output.inner_text().endswith("is a 1")
    page.mouse.move(box["x"], box["y"])  # no button: nothing moves
    assert output.inner_text().endswith("is a 1")
    page.get_by_label("z₁").fill("-2")
    page.get_by_label("z₂").fill("1")
    assert output.inner_text() == "z = (−2.00, 1.00); the nearest encoded image is a 7"


def test_latent_explorer_draws_the_decoded_image(show, explorer, vae):
    page = show(explorer)
    alpha = page.locator(".vaebook-image").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 == 3)"
    )
    decoder = rounded_decoder(vae, explorer.state["layers"])
    with torch.no_grad():
        expected = torch.sigmoid(decoder(torch.zeros(1, 2).double()))[0].numpy()
    np.testing.assert_allclose(np.array(alpha) / 255, expected, atol=0.51 / 255)


def test_latent_explorer_without_codes(show, vae):
    page = show(interactive.latent_explorer(vae))
    assert page.locator(".vaebook-live > output").inner_text() == "z = (0.00, 0.00)"


def test_latent_explorer_redraws_in_the_new_theme(show, explorer):
    page = show(explorer)
    colour = "c => c.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    light = page.locator(".vaebook-image").evaluate(colour)
    page.evaluate("document.documentElement.style.setProperty('--vb-ink', '#e4e7ec')")
    page.evaluate("document.dispatchEvent(new CustomEvent('vaebook:theme'))")
    assert page.locator(".vaebook-image").evaluate(colour) > light + 100


def numbers(page):
    rows = page.locator(".vaebook-numbers td").all_inner_texts()
    return [float(row.replace("−", "-").removesuffix(" nats")) for row in rows]


def test_elbo_explorer_adds_up_wherever_q_is(show):
    page = show(interactive.elbo_explorer())
    first = numbers(page)
    for mean, log_std in (("1.5", "-1"), ("-3", "1"), ("0.25", "0")):
        page.get_by_label("mean of q").fill(mean)
        page.get_by_label("standard deviation").fill(log_std)
        reconstruction, kl_prior, elbo, kl_posterior, total, log_p = numbers(page)
        assert elbo == pytest.approx(reconstruction - kl_prior, abs=1.1e-3)  # printed: 3 digits
        assert total == pytest.approx(elbo + kl_posterior, abs=1.1e-3)
        assert total == log_p == first[-1]
        assert f"{elbo:.3f}".replace("-", "−") in page.get_by_role("img").get_attribute(
            "aria-label"
        )
    page.get_by_label("observed x").fill("-2")
    assert numbers(page)[-1] != first[-1]


def test_elbo_explorer_reaches_the_posterior(show):
    page = show(interactive.elbo_explorer())
    gap = page.locator(".vaebook-gap")
    assert float(gap.get_attribute("width")) > 10
    page.get_by_role("button", name="Set q to the posterior").press("Enter")
    _, _, elbo, kl_posterior, _, log_p = numbers(page)
    assert kl_posterior == 0
    assert elbo == log_p
    assert float(gap.get_attribute("width")) == pytest.approx(0, abs=1e-9)
    marks = [page.locator(f"line.vaebook-{name}").get_attribute("x1") for name in ("elbo", "log-p")]
    assert float(marks[0]) == pytest.approx(float(marks[1]))
    paths = [page.locator(f"path.vaebook-{name}").get_attribute("d") for name in ("q", "posterior")]
    assert paths[0] == paths[1]


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["latent", "elbo"])
def test_live_figures_are_accessible_and_quiet(show, explorer, kind, theme, width, page):
    page.set_viewport_size({"width": width, "height": 800})
    show(explorer if kind == "latent" else interactive.elbo_explorer(), theme)
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert page.messages == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if kind == "latent":
        page.locator(".vaebook-pad").focus()
        page.keyboard.press("ArrowUp")
        outline = page.locator(".vaebook-pad").evaluate("e => getComputedStyle(e).outlineWidth")
        assert outline == "3px"


# --- the HTML and the widget ----------------------------------------------------------------------


def test_html_is_the_same_at_every_run_and_safe(vae):
    figure = interactive.LiveFigure("elbo_explorer", 'a "label" & <b>', note="</script>")
    markup = figure._repr_html_()
    assert (
        markup
        == interactive.LiveFigure(
            "elbo_explorer", 'a "label" & <b>', note="</script>"
        )._repr_html_()
    )
    assert 'aria-label="a &quot;label&quot; &amp; &lt;b&gt;"' in markup
    state = re.search(r'<script type="application/json">(.*?)</script>', markup, re.S)[1]
    assert json.loads(state) == {"note": "</script>"}
    assert repr(figure) == "LiveFigure('a \"label\" & <b>')"


def test_no_module_ends_its_script_early():
    for file in Path(interactive.__file__).parent.glob("*_explorer.js"):
        assert "</script" not in file.read_text(encoding="utf-8")


def test_explorer_of_the_chapter_s_decoder_fits_a_page():
    figure = interactive.latent_explorer(mlp_vae(n_latents=2, hidden=(400,)))
    assert len(figure._repr_html_()) < 500_000


def test_widget_has_the_same_module_and_state(explorer):
    widget = explorer.widget()
    assert widget.z == [0.0, 0.0]
    assert widget._esm == interactive._text("latent_explorer.js")
    widget.z = [1.0, 2.0]
    assert widget.get_state()["z"] == [1.0, 2.0]
    assert explorer.state["z"] == [0.0, 0.0]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp_vae(n_latents=3), "vae: wanted two latents and a Bernoulli likelihood, got 3"),
        (lambda: mlp_vae(n_latents=2, likelihood=Gaussian()), "got 2 and Gaussian"),
        (lambda: mlp_vae(n_pixels=60, n_latents=2), "vae: wanted square images, got 60 pixels"),
        (lambda: conv_vae(n_latents=2), "decoder: wanted linear layers and ReLU, SiLU or tanh"),
    ],
)
def test_latent_explorer_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        interactive.latent_explorer(make())


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(2, 4), nn.Linear(4, 4)],
        [nn.ReLU(), nn.Linear(2, 4), nn.ReLU()],
        [nn.Linear(2, 4), nn.ReLU()],
    ],
)
def test_quantize_refuses_another_order(layers):
    with pytest.raises(ValueError, match="decoder: wanted linear layers with one activation"):
        interactive.quantize(nn.Sequential(*layers))


def test_codes_and_labels_have_to_fit(vae):
    with pytest.raises(ValueError, match=r"codes: wanted shape \(n, 2\), got shape \(4, 3\)"):
        interactive.latent_explorer(vae, torch.zeros(4, 3), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"labels: wanted shape \(4,\)"):
        interactive.latent_explorer(vae, torch.zeros(4, 2))


@pytest.mark.parametrize("noise_std", [0.0, -1.0, float("nan")])
def test_elbo_explorer_refuses(noise_std):
    with pytest.raises(ValueError, match="noise_std: wanted a positive number"):
        interactive.elbo_explorer(noise_std=noise_std)

"""Completing a digit: the page's network is the package's, and sees what its masks allow."""

import copy

import pytest
import torch

from vaebook.autoregressive import PixelRNN
from vaebook.interactive.digit_completion import digit_completion

from .conftest import settle
from .test_weights import array, unpack


def make_model(hidden=(9,), **options):
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    model = PixelRNN(6, 5, n_state=7, hidden=hidden, **options)
    torch.nn.init.normal_(model.position)
    return model


def some_images(n=3):
    return torch.bernoulli(torch.full((n, 30), 0.4), generator=torch.Generator().manual_seed(1))


def example():
    return digit_completion(make_model(), some_images())


def rounded(model, packed):
    """The model in float64 with the weights that the page gets."""
    model = copy.deepcopy(model).double()
    within, unit = model.within_row, model.recurrent
    for layer, given in zip(within.layers, packed["layers"], strict=True):
        layer.weight.data, layer.bias.data = unpack(given)
    for layer, given in zip(within.contexts, packed["contexts"], strict=True):
        layer.weight.data, _ = unpack(given)
    if within.direct is not None:
        within.direct.weight.data, _ = unpack(packed["direct"])
    unit.weight_ih_l0.data, unit.bias_ih_l0.data = unpack(packed["input"])
    unit.weight_hh_l0.data, unit.bias_hh_l0.data = unpack(packed["hidden"])
    position = torch.tensor(array(packed["position"]).astype(float))
    model.position.data = position.view_as(model.position)
    return model


@pytest.mark.parametrize("hidden", [(9,), (9, 8)])
def test_the_page_has_the_package_s_log_odds(evaluate, hidden):
    model, images = make_model(hidden), some_images()
    packed = digit_completion(model, images).state["network"]
    with torch.no_grad():
        expected = rounded(model, packed).logits(images.double())
        assert (expected - model.logits(images)).abs().max() < 0.1  # what the rounding costs
    # the second image twice: once anew, once with the rows that are kept from before
    expression = "a[1].map((image) => m.logits(m.read(a[0]), image, 5))"
    order = [0, 1, 1, 2]
    computed = evaluate("digit_completion", expression, packed, images[order].tolist())
    torch.testing.assert_close(torch.tensor(computed), expected[order].float(), rtol=0, atol=1e-6)


def test_the_nats_are_the_package_s(evaluate):
    model, images = make_model(), some_images()
    packed = digit_completion(model, images).state["network"]
    with torch.no_grad():
        expected = -rounded(model, packed).log_conditionals(images.double())
    expression = """a[1].map((image) => {
      const odds = m.logits(m.read(a[0]), image, 5);
      return [m.nats(odds, image, 0, 15), m.nats(odds, image, 15, 30)];
    })"""
    computed = evaluate("digit_completion", expression, packed, images.tolist())
    halves = expected.view(-1, 2, 15).sum(-1)
    torch.testing.assert_close(
        torch.tensor(computed, dtype=torch.float64), halves, rtol=0, atol=1e-6
    )


def test_a_row_that_grows_pixel_by_pixel_is_as_if_computed_anew(evaluate):
    model, image = make_model(), some_images(1)[0].tolist()
    packed = digit_completion(model, some_images()).state["network"]
    expression = """(() => {
      const net = m.read(a[0]), grown = [];
      for (let i = 0; i < 30; i++) {
        const start = a[1].map((pixel, j) => (j < i ? pixel : 0));
        grown.push(m.rows(net, start, 5, Math.floor(i / 5) + 1).at(-1).logits[i % 5]);
      }
      return [grown, m.logits(m.read({...a[0]}), a[1], 5)];
    })()"""
    grown, anew = evaluate("digit_completion", expression, packed, image)
    assert grown == pytest.approx(anew, abs=1e-12)


def test_the_masks_shown_are_what_the_network_sees(evaluate):
    model, image = make_model(), some_images(1)
    degrees = model.within_row.degrees[1].tolist()
    row = 2

    def units(x):
        above = torch.nn.functional.pad(x.view(1, 6, 5), (0, 0, 1, 0))[:, :-1]
        context, _ = model.recurrent(above + model.position)
        first = model.within_row.layers[0](x.view(1, 6, 5)) + model.within_row.contexts[0](context)
        return first[0, row]

    seen = torch.autograd.functional.jacobian(units, image)[:, 0] != 0
    masks = evaluate("digit_completion", "a[0].map((degree) => m.mask(degree, 2, 5, 30))", degrees)
    assert masks == seen.tolist()
    logits = torch.autograd.functional.jacobian(model.logits, image)[0, :, 0] != 0
    own = "Array.from({length: 30}, (_, i) => m.mask(i % 5, Math.floor(i / 5), 5, 30))"
    assert evaluate("digit_completion", own) == logits.tolist()


def test_draws_to_the_end_and_another_time(show, page):
    show(example())
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="Next pixel").click()
    settle(page)
    assert "3 rows are kept, 1 pixels drawn" in page.locator("output").inner_text()
    page.get_by_role("button", name="Draw", exact=True).click()
    settle(page)
    assert "all other pixels drawn" in page.locator("output").inner_text()
    whole = page.locator("canvas").first.evaluate("c => c.toDataURL()")
    page.get_by_role("button", name="Another draw").click()
    page.get_by_role("button", name="Draw", exact=True).click()
    settle(page)
    assert page.locator("canvas").first.evaluate("c => c.toDataURL()") != whole


def test_a_tap_shows_a_mask(show, page):
    show(example())
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.25})
    settle(page)
    said = page.locator("output").inner_text()
    assert said == "The output for row 2, column 3 sees the shaded pixels: 7 of 30."
    page.locator("canvas").nth(2).click(position={"x": 3, "y": 3})
    settle(page)
    assert page.locator("output").inner_text().startswith("Hidden unit 1 sees the rows above row 4")


def test_refuses():
    images = some_images()
    with pytest.raises(ValueError, match="row by row"):
        digit_completion(make_model(ordering=range(29, -1, -1)), images)
    with pytest.raises(ValueError, match="hidden layer"):
        digit_completion(make_model(()), images)
    with pytest.raises(ValueError, match="pixels of 0 and 1"):
        digit_completion(make_model(), images / 2)
    with pytest.raises(ValueError, match="n_rows_kept"):
        digit_completion(make_model(), images, 6)

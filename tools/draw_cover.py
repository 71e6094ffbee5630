"""Draw the picture on the book's first page, and the one that social media show.

Trains a small VAE for a minute and draws what it really returns: a test digit, its
reconstruction, and new digits decoded from the prior. Run it from the top of the project:

    python -m tools.draw_cover
"""

from __future__ import annotations

import argparse
import base64
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import sync_playwright

from tools.browser import start_browser
from vaebook import data, training, vae
from vaebook.figures import PALETTE

STATIC = Path(__file__).parents[1] / "book" / "_static"
INK, VERMILION, BLUE, SLATE = (PALETTE[name] for name in ("ink", "vermilion", "blue", "slate"))
N_NEW_DIGITS = 11


def picture(pixels: np.ndarray, x: float, y: float, side: float) -> str:
    """Return an SVG image of a digit: ink, as opaque as the pixel is bright."""
    rgba = np.zeros((28, 28, 4), dtype=np.uint8)
    rgba[..., :3] = [int(INK[i : i + 2], 16) for i in (1, 3, 5)]
    rgba[..., 3] = np.round(255 * pixels.reshape(28, 28))
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", optimize=True)
    source = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<image x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{source}"/>'
    )


def text(words: str, x: float, y: float, color: str = SLATE) -> str:
    """Return centred italic words."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="28" fill="{color}" '
        f'text-anchor="middle" font-style="italic">{words}</text>'
    )


def bell(x: float, base: float, width: float, height: float) -> list[tuple[float, float]]:
    """Return points of a normal density, three standard deviations to each side."""
    grid = np.linspace(-3, 3, 49)
    return [(x + t * width / 6, base - height * math.exp(-t * t / 2)) for t in grid]


def draw(digit: np.ndarray, reconstruction: np.ndarray, new_digits: np.ndarray) -> str:
    """Return the drawing: digit, encoder, code, decoder, digit; and new digits below."""
    curve = "L".join(f"{x:.1f} {y:.1f}" for x, y in bell(450, 166, 170, 96))
    parts = [
        picture(digit, 24, 40, 160),
        picture(reconstruction, 716, 40, 160),
        f'<path d="M208 40L352 86V154L208 200Z" fill="none" stroke="{BLUE}" stroke-width="3"/>',
        f'<path d="M692 40L548 86V154L692 200Z" fill="none" stroke="{BLUE}" stroke-width="3"/>',
        f'<path d="M{curve}Z" fill="{VERMILION}" fill-opacity="0.14"/>',
        f'<path d="M{curve}" fill="none" stroke="{VERMILION}" stroke-width="3.5"/>',
        f'<path d="M365 166H535" stroke="{INK}" stroke-width="2"/>',
        f'<circle cx="476" cy="166" r="7" fill="{VERMILION}"/>',
        text("encoder", 280, 129, BLUE),
        text("decoder", 620, 129, BLUE),
        text("a digit x", 104, 236),
        text("its code: q(z | x),", 450, 236),
        text("and one draw z", 450, 270),
        text("the mean", 796, 236),
        text("of p(x | z)", 796, 270),
        f'<path d="M24 306H876" stroke="{SLATE}" stroke-opacity="0.35"/>',
        text("and new digits, decoded from draws of the prior", 450, 352),
    ]
    side = 852 / len(new_digits)
    parts += [picture(new, 24 + i * side + 4, 372, side - 8) for i, new in enumerate(new_digits)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="454" viewBox="0 0 900 454" '
        "font-family=\"'Source Serif 4', Charter, Georgia, serif\">" + "\n".join(parts) + "</svg>\n"
    )


def photograph_social_card() -> None:
    """Write the card that social media show: the book's name above the drawing, as PNG."""
    page = f"""<style>
      @font-face {{ font-family: "Source Serif 4"; font-weight: 200 900;
        src: url("{STATIC.as_uri()}/fonts/source-serif-4-latin-wght-normal.woff2"); }}
      body {{ margin: 0; background: #fcfbf8; color: {INK}; text-align: center; }}
      h1 {{ font: 600 54px "Source Serif 4"; margin: 0; padding: 44px 60px 20px; }}
    </style><h1>Variational Autoencoders, Verified</h1>
    <img src="{STATIC.as_uri()}/cover.svg" width="1080">"""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        card = Path(folder, "card.html")  # a page from a file may show pictures from files
        card.write_text(page, encoding="utf-8")
        browser = start_browser(playwright)
        window = browser.new_page(viewport={"width": 1200, "height": 630})
        window.goto(card.as_uri())
        window.evaluate("document.fonts.ready")
        window.screenshot(path=STATIC / "social.png")


def main() -> None:
    """Train, draw, write."""
    images = data.load()
    torch.manual_seed(0)
    model = vae.mlp_vae(n_latents=20, hidden=(400,))
    training.fit(
        model,
        images.train_and_validation.pixels(),
        vae.elbo_objective,
        transform=data.dynamic_binarization,
        epochs=20,
        lr=2e-3,
        seed=0,
    )
    generator = torch.Generator().manual_seed(3)
    x = images.test.floats()[4:5]
    with torch.no_grad():
        reconstruction = model.reconstruct(x, generator)
        new_digits = model.sample(N_NEW_DIGITS, generator, mean=True)
    drawing = draw(x[0].numpy(), reconstruction[0].numpy(), new_digits.numpy())
    (STATIC / "cover.svg").write_text(drawing, encoding="utf-8")
    photograph_social_card()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    main()

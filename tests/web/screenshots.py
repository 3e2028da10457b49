"""Take the pictures of the page for the docs: ``python tests/web/screenshots.py docs/images``.

They show the demo archive, which is made first where it is not in the user's cache.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from browser import DESKTOP, PHONE, browser, serving
from gssm.web import demo
from gssm.web.app import create_app
from gssm.web.settings import Public, Settings
from gssm.web_commands import DEMO_TITLE

# What is shown, after #, on which screen and in which theme.
POINT = "place=point:3.0508,50.8052&date={last}"
BOX = "place=box:3.034,50.796,3.056,50.812&date={last}&compare={first}&swipe=0.44"
PICTURES = {
    "web-desktop": (POINT, DESKTOP, "light"),
    "web-desktop-dark": (BOX, DESKTOP, "dark"),
    "web-phone": (POINT, PHONE, "light"),
    "web-phone-dark": ("date={last}", PHONE, "dark"),
}
PATIENCE, LARGEST = 120_000, 300_000  # milliseconds, bytes


def main():
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--demo", type=Path, default=demo.cache_folder())
    parser.add_argument("--size", type=int, default=demo.SIZE)
    parser.add_argument("--dates", type=int, default=demo.DATES)
    given = parser.parse_args()
    made = demo.make_demo(given.demo, size=given.size, dates=given.dates, report=print)
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        settings = Settings(
            {demo.ID: str(made.archive)},
            catalog=str(made.catalog),
            data=Path(data),
            public=Public(title=DEMO_TITLE),
        )
        app = create_app(settings)
        archive = app.state.context.datasets.get(demo.ID)
        dates = {"first": archive.ids[0], "last": archive.ids[-1]}
        with serving(app) as url, browser() as chrome:
            for name, (shown, screen, theme) in PICTURES.items():
                picture = take(chrome, f"{url}/#{shown.format(**dates)}", screen, theme)
                path = given.folder / f"{name}.png"
                path.write_bytes(picture)
                print(path, f"{len(picture) / 1e3:.0f} kB")


def take(chrome, address, screen, theme):
    """Picture of a view, of few colours, as PNG."""
    page = chrome.new_page()
    page.set_default_timeout(PATIENCE)
    page.set_viewport_size(screen)
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(address)
    page.locator("body[data-first]").wait_for(state="attached")
    if "place=" in address:
        page.locator("#readout .value").wait_for()
        page.locator("#chart canvas").wait_for()
    # Until the outline is drawn, and the map has come to rest.
    page.wait_for_timeout(6_000)
    page.locator("body[data-map=idle]").wait_for(state="attached")
    page.evaluate("new Promise((done) => gssm.map.once('idle', done).triggerRepaint())")
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.close()
    packed = io.BytesIO()
    few_colors(taken).save(packed, "PNG", optimize=True)
    assert len(packed.getvalue()) < LARGEST
    return packed.getvalue()


def few_colors(picture):
    """Keep the 256 most frequent colours as they are; others become the nearest of them."""
    pixels = np.asarray(picture).reshape(-1, 3)
    found, places, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    kept = found[np.argsort(-counts)[:256]]
    away = ((found[:, None, :].astype(int) - kept[None].astype(int)) ** 2).sum(axis=2)
    indices = away.argmin(axis=1).astype(np.uint8)[places.reshape(-1)]
    made = Image.fromarray(indices.reshape(picture.height, picture.width))
    made.putpalette(kept.astype(np.uint8).tobytes())
    return made


if __name__ == "__main__":
    main()

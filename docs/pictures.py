"""Take the README's pictures of a report: `python docs/pictures.py WORK`, after `python -m report --work WORK`.

Writes docs/pictures/report.png (the page's top), confusion.png and example.png, each below 200 kB. Needs Chromium
and playwright.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "pictures"
PICTURES = {"report": None, "confusion": "#matrix", "example": "#examples .card"}
COLORS, MOST_BYTES = (128, 64, 32), 200_000


def save(png: bytes, path: Path) -> None:
    """Write a picture with as many colours as fit into its size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colors in COLORS:
        picture.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main(work: str) -> int:
    """Take every picture, in the light theme."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("pictures: there is no Chromium here; install Debian's package chromium", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=1.5)
        page.goto((Path(work) / "report.html").resolve().as_uri())
        for name, part in PICTURES.items():
            png = page.locator(part).first.screenshot() if part else page.screenshot()
            save(png, FOLDER / f"{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

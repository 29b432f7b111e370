"""Pack the object pictures and the sign letters into the two sheets that the generator draws from.

Run once by hand when the list of objects changes (the sheets are in git): ``python -m
harness.data.microworld.pictures.pack EMOJI_PACKAGE``, where EMOJI_PACKAGE is the unpacked npm package
``emoji-datasource-google`` (Noto emoji, 64 px PNG). Letters are drawn once, here, so that a scene never depends on a
font or on the version of a font renderer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.data.microworld.objects import load_objects

HERE = Path(__file__).parent
PICTURE_SIZE = 48
COLUMNS = 16
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_HEIGHT = 18
LETTER_WIDTH = 13


def pack_objects(package: Path) -> Image.Image:
    """One RGBA sheet, 16 pictures a row in the order of ``objects.csv``, 48 px each."""
    entries = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    files = {name: entry["image"] for entry in entries for name in entry["short_names"]}
    objects = load_objects()
    rows = -(-len(objects) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * PICTURE_SIZE, rows * PICTURE_SIZE))
    for index, item in enumerate(objects):
        picture = Image.open(package / "img" / "google" / "64" / files[item.emoji]).convert("RGBA")
        picture = picture.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
        sheet.paste(picture, (index % COLUMNS * PICTURE_SIZE, index // COLUMNS * PICTURE_SIZE))
    return sheet.quantize(256, method=Image.Quantize.FASTOCTREE).convert("RGBA")


def pack_letters() -> Image.Image:
    """One grey sheet with the characters of signs side by side, 13 × 18 px each (DejaVu Sans Bold)."""
    import matplotlib

    font_file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    font = ImageFont.truetype(str(font_file), 20)
    sheet = Image.new("L", (LETTER_WIDTH * len(CHARACTERS), LETTER_HEIGHT))
    for index, character in enumerate(CHARACTERS):
        glyph = Image.new("L", (32, 32))
        ImageDraw.Draw(glyph).text((4, 2), character, fill=255, font=font)
        glyph = glyph.crop(glyph.getbbox())
        width = min(glyph.width, LETTER_WIDTH - 2)  # squeezed, never stretched: an I stays thin
        glyph = glyph.resize((width, LETTER_HEIGHT), Image.Resampling.LANCZOS)
        sheet.paste(glyph, (index * LETTER_WIDTH + (LETTER_WIDTH - width) // 2, 0))
    return sheet


def main(package: Path) -> None:
    """Write both sheets beside this file."""
    pack_objects(package).save(HERE / "objects.png", optimize=True)
    pack_letters().save(HERE / "letters.png", optimize=True)
    for name in ("objects.png", "letters.png"):
        image = np.asarray(Image.open(HERE / name))
        print(name, image.shape, (HERE / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

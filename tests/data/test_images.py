from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.images import MAX_PIXELS, load_image
from harness.errors import HarnessError


def _encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be huge; what follows the header is a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_pictures_are_rgb(form: str, tmp_path: Path) -> None:
    data = _encode(PICTURE, form)
    (tmp_path / "a").write_bytes(data)
    for image in (load_image(data), load_image(tmp_path / "a"), load_image(str(tmp_path / "a"))):
        assert (image.mode, image.size) == ("RGB", (50, 40))
    if form == "PNG":
        assert np.array_equal(np.asarray(load_image(data)), np.asarray(PICTURE))


def test_other_colour_modes_become_rgb() -> None:
    for mode in ("L", "P", "1", "CMYK", "LA", "RGBA"):
        form = "JPEG" if mode == "CMYK" else "PNG"
        assert load_image(_encode(PICTURE.convert(mode), form)).mode == "RGB"


def test_transparency_is_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert load_image(_encode(clear)).getpixel((5, 5)) == (255, 255, 255)
    palette = Image.new("P", (20, 20), 0)
    assert load_image(_encode(palette, transparency=0)).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = Image.fromarray(np.full((16, 16), 32896, dtype=np.uint16))
    assert load_image(_encode(deep)).getpixel((3, 3)) == (128, 128, 128)


@pytest.mark.parametrize("size", [(60_000, 60_000), (1 << 30, 1), (8193, 8192)])
def test_a_bomb_is_refused_from_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(HarnessError, match=r"bomb\.png .*pixels") as caught:
        load_image(_png_header(*size), name="bomb.png")
    assert "replace the picture" in caught.value.remedy


def test_the_limit_can_be_lowered() -> None:
    assert load_image(_encode(PICTURE), limit=2000).size == (50, 40)
    with pytest.raises(HarnessError, match="50 × 40 pixels, the limit is 1,999"):
        load_image(_encode(PICTURE), limit=1999)
    assert MAX_PIXELS < 60_000 * 60_000


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 7)])
def test_specks_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(HarnessError, match="at least 8"):
        load_image(_encode(Image.new("RGB", size)), name="speck.png")


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"<html>404</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"\0" * 50]
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(HarnessError, match=r"^thing\.jpg "):
        load_image(content, name="thing.jpg")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_short_is_refused(form: str) -> None:
    data = _encode(PICTURE, form)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(HarnessError, match=r"cut\.jpg"):
            load_image(data[: int(len(data) * share)], name="cut.jpg")


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_pictures_are_read_or_refused_but_never_crash(form: str, damage: list[tuple[int, int]]) -> None:
    data = bytearray(_encode(PICTURE, form))
    for place, value in damage:
        data[place % len(data)] = value
    with contextlib.suppress(HarnessError):
        assert load_image(bytes(data)).mode == "RGB"


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"a\.jpg is missing"):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(HarnessError, match="is a folder"):
        load_image(tmp_path)

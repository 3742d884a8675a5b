#!/usr/bin/env python3
"""Draws a picture of book spines, as a PNG of some 200 KiB: the size of what an image service stores.

Usage: demo-picture.py OUT.png. Needs nothing but Python; the same picture every time.
"""

import random
import struct
import sys
import zlib

WIDTH, HEIGHT = 360, 240
SHELVES = 2


def spines(rng):
    """The colour of each column of a shelf, and where its spine ends above."""
    columns = []
    while len(columns) < WIDTH:
        colour = tuple(rng.randrange(40, 220) for _ in range(3))
        top = rng.randrange(8, 60)
        columns += [(colour, top)] * rng.randrange(9, 30) + [((20, 14, 10), HEIGHT)]
    return columns[:WIDTH]


def pixels():
    """Rows of RGB bytes, each with the filter byte PNG wants in front."""
    rng = random.Random(1592)
    shelf_height = HEIGHT // SHELVES
    shelves = [spines(rng) for _ in range(SHELVES)]
    for y in range(HEIGHT):
        shelf, depth = shelves[min(y // shelf_height, SHELVES - 1)], y % shelf_height
        row = bytearray(b"\0")
        for colour, top in shelf:
            shown = colour if top <= depth < shelf_height - 10 else (92, 58, 30)
            row += bytes(min(255, c + rng.randrange(12)) for c in shown)
        yield bytes(row)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main():
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(pixels()), 9)
    with open(sys.argv[1], "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


main()

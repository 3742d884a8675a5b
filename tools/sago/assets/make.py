"""Makes the sample book and its cover, byte for byte the same each time. Run in this folder: python3 make.py"""

import io
import struct
import zipfile
import zlib

WIDTH, HEIGHT = 480, 640


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pixel(x: int, y: int) -> tuple[int, int, int]:
    """Four shelves of books; one of them dark."""
    shelf, depth = divmod(y, HEIGHT // 4)
    if depth > 140:
        return 92, 64, 40
    book = (x * 7 + shelf * 131) // 160
    tall = 30 + (book * 37 + shelf * 17) % 60
    if depth < tall or (x * 7 + shelf * 131) % 160 < 10:
        return 236, 226, 204
    if shelf == 2:
        return 58, 54, 52
    return 60 + (book * 53) % 140, 50 + (book * 29 + shelf * 40) % 110, 70 + (book * 71) % 90


def cover() -> bytes:
    rows = b"".join(b"\0" + bytes(v for x in range(WIDTH) for v in pixel(x, y)) for y in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


TEXT = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head><title>Four Copies</title></head>
<body>
<h1>Four Copies</h1>
<p>The court of Joseon wrote down each day of its kings, and when a king had died, his days became annals that no later
king was allowed to read. The annals were printed, and the copies were kept in four archives in four towns.</p>
<p>In 1592 a war came. Three of the four archives burned. The fourth stood in Jeonju, and before the war reached the town two
old scholars loaded the books on carts, took them into the mountains, and guarded them there, day and night, for a year.</p>
<p>After the war every new copy was made from that one. And the new archives were built on mountains, far from each
other.</p>
</body>
</html>
"""

PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:5f0d1f3a-6c0e-4b43-9c5e-1592a1d10001</dc:identifier>
<dc:title>Four Copies</dc:title>
<dc:language>en</dc:language>
<dc:creator>The Sago authors</dc:creator>
<meta property="dcterms:modified">2025-01-01T00:00:00Z</meta>
</metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="text" href="text.xhtml" media-type="application/xhtml+xml"/>
<item id="cover" href="cover.png" media-type="image/png" properties="cover-image"/>
</manifest>
<spine><itemref idref="text"/></spine>
</package>
"""

NAV = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en" lang="en">
<head><title>Contents</title></head>
<body><nav epub:type="toc"><ol><li><a href="text.xhtml">Four Copies</a></li></ol></nav></body>
</html>
"""

CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""


def book(picture: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        def add(name: str, data: bytes | str, method: int) -> None:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, method)

        add("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        add("META-INF/container.xml", CONTAINER, zipfile.ZIP_DEFLATED)
        add("book/package.opf", PACKAGE, zipfile.ZIP_DEFLATED)
        add("book/nav.xhtml", NAV, zipfile.ZIP_DEFLATED)
        add("book/text.xhtml", TEXT, zipfile.ZIP_DEFLATED)
        add("book/cover.png", picture, zipfile.ZIP_STORED)
    return out.getvalue()


if __name__ == "__main__":
    png = cover()
    with open("four-copies.png", "wb") as file:
        file.write(png)
    with open("four-copies.epub", "wb") as file:
        file.write(book(png))

"""Makes books with awkward names, the same in every run: korean.epub, comic.cbz and small.pdf.

    make_books.py FOLDER
"""

import hashlib
import pathlib
import struct
import sys
import unicodedata
import urllib.parse
import zipfile
import zlib

DATE = (2026, 1, 2, 3, 4, 6)
CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="책/꾸러미.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""


def noise(name, size):
    """Bytes that no Deflate makes smaller."""
    blocks = (hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def png(name, width, height):
    """A picture that every reader decodes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + noise(f"{name} {row}", width) for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def page(title, text):
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" lang="ko" xml:lang="ko"><head><title>{title}</title></head><body><h1>{title}</h1>{text}</body></html>
"""


def resources():
    """Path in the folder of the package document, media type, properties, data. Chapters are what is read in order."""
    lines = "<p>계절이 지나가는 하늘에는 가을로 가득 차 있습니다.</p>"
    decomposed = unicodedata.normalize("NFD", "한글 분해")
    chapters = ["제 1 장.xhtml", "100% & more.xhtml", "it's (2) [3]; a=b+c,d!.xhtml", "퍼센트%20그대로.xhtml", "a#b.xhtml", f"{decomposed}.xhtml", "깊은/곳/장 😀.xhtml"]
    found = [(name, "application/xhtml+xml", "", page(f"제 {i} 장", lines * (i * i * 40 + 1)).encode()) for i, name in enumerate(chapters)]
    # Lengths around the blocks of the cipher: empty, a byte short, whole, a byte over.
    styles = [0, 1, 15, 16, 17, 31, 32, 33]
    found += [(f"모양/{size}.css", "text/css", "", (b"/*" + b"x" * size)[: max(0, size - 2)] + b"*/" if size > 3 else b" " * size) for size in styles]
    found += [
        ("그림/표지.png", "image/png", "cover-image", png("cover", 60, 80)),
        ("그림/그림 1.png", "image/png", "", png("picture", 300, 300)),
        ("소리.mp3", "audio/mpeg", "", b"ID3" + noise("sound", 300_000)),
    ]
    return chapters, found


def package(chapters, found):
    href = urllib.parse.quote
    items = [f'<item id="r{i}" href="{href(name)}" media-type="{kind}"{properties and f" properties=" + chr(34) + properties + chr(34)}/>' for i, (name, kind, properties, _) in enumerate(found)]
    order = "".join(f'<itemref idref="r{i}"/>' for i in range(len(chapters)))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="ko">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:uuid:3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10</dc:identifier>
<dc:title>별 헤는 밤 &amp; "다른 시"</dc:title><dc:language>ko</dc:language><meta property="dcterms:modified">2026-01-02T03:04:05Z</meta></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
{chr(10).join(items)}
</manifest><spine>{order}</spine></package>
"""


def navigation(chapters):
    links = "".join(f'<li><a href="{urllib.parse.quote(name)}">{i}</a></li>' for i, name in enumerate(chapters))
    nav = f'<nav xmlns:epub="http://www.idpf.org/2007/ops" epub:type="toc"><ol>{links}</ol></nav>'
    return page("차례", nav)


def add(archive, name, data, method=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name, DATE)
    info.compress_type = method
    archive.writestr(info, data)


def korean_epub(path):
    chapters, found = resources()
    with zipfile.ZipFile(path, "w") as archive:
        add(archive, "mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        add(archive, "META-INF/container.xml", CONTAINER)
        add(archive, "책/꾸러미.opf", package(chapters, found))
        add(archive, "책/nav.xhtml", navigation(chapters))
        for name, kind, _, data in found:
            add(archive, f"책/{name}", data, zipfile.ZIP_STORED if kind == "image/png" else zipfile.ZIP_DEFLATED)


def comic(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in (10, 2, 1, 100):
            add(archive, f"제1화 & 시작/{number}쪽 100%.png", png(number, 120 + number, 90), zipfile.ZIP_STORED)
        add(archive, "제2화/a+b #1?.png", png("odd", 64, 64))
        add(archive, "제2화/blank.bmp", b"BM" + struct.pack("<IHHI", 40_054, 0, 0, 54) + bytes([40]) + bytes(40_039))
        add(archive, "ComicInfo.xml", "<ComicInfo/>")
        add(archive, "__MACOSX/._1.png", b"junk")


def small_pdf(path):
    """Two pages; the second has a stream as long as no piece of a reader is."""
    text = b"BT /F 24 Tf 72 700 Td (A page) Tj ET\n"
    streams = [text, text + b"% " + noise("pdf", 200_000).hex().encode()]
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 2/Kids[3 0 R 4 0 R]>>"]
    font = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]" + font + b"/Contents %d 0 R>>" % (5 + i) for i in range(2)]
    objects += [b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream) for stream in streams]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    path.write_bytes(out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer)


folder = pathlib.Path(sys.argv[1])
korean_epub(folder / "korean.epub")
comic(folder / "comic.cbz")
small_pdf(folder / "small.pdf")

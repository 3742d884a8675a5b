"""Reads archives with Python's own reader, checksums included, and prints as JSON what is in each: SHA-256 by name, in order.

    entries.py FILE...
"""

import hashlib
import json
import sys
import zipfile


def entries(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names)), f"{path}: a name twice"
        assert archive.comment == b"", f"{path}: a comment"
        return [[name, hashlib.sha256(archive.read(name)).hexdigest()] for name in names]


print(json.dumps([entries(path) for path in sys.argv[1:]]))

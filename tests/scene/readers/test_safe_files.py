import pytest

from reben.errors import ProductError
from reben.scene.readers.safe_files import MAX_XML_BYTES, first_text, parse_metadata, text_of

LAUGHS = """<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>"""


def test_elements_are_found_by_name_whatever_their_namespace():
    root = parse_metadata(
        b'<?xml version="1.0"?><n:a xmlns:n="urn:1"><b><n:c d="1">x</n:c></b><c>y</c></n:a>', "m"
    )

    assert [element.text for element in root.iter("c")] == ["x", "y"]
    assert next(root.iter("c")).attrib == {"d": "1"}
    assert first_text(root, "nothing", "c") == "x"
    assert first_text(root, "nothing") is None


def test_text_in_pieces_is_put_together():
    root = parse_metadata("<a>é&amp;<!-- x -->\n b</a>".encode(), "m")

    assert text_of(root) == "é&\n b"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused_in_any_encoding(encoding):
    with pytest.raises(ProductError, match=r"m\.xml has a document type declaration"):
        parse_metadata(LAUGHS.encode(encoding), "m.xml")


@pytest.mark.parametrize("content", [b"", b"<a>", b"<a></b>", b"\x89PNG", b"<a/><b/>"])
def test_what_is_not_xml_is_refused(content):
    with pytest.raises(ProductError, match=r"m\.xml is not XML"):
        parse_metadata(content, "m.xml")


@pytest.mark.parametrize("encoding", ["ETF-8", "utf-7", "cp037", "idna"])
def test_an_encoding_that_xml_does_not_have_is_refused(encoding):
    with pytest.raises(ProductError, match=r"m\.xml is not XML"):
        parse_metadata(f'<?xml version="1.0" encoding="{encoding}"?><a><'.encode(), "m.xml")


def test_millions_of_empty_elements_are_refused_before_they_are_parsed():
    with pytest.raises(ProductError, match="tags"):
        parse_metadata(b"<a>" + b"<b/>" * 2_000_001 + b"</a>", "m.xml")


def test_metadata_that_nest_without_end_or_are_huge_are_refused():
    with pytest.raises(ProductError, match="deep"):
        parse_metadata(b"<a>" * 1000 + b"</a>" * 1000, "m.xml")
    with pytest.raises(ProductError, match="bytes"):
        parse_metadata(b" " * (MAX_XML_BYTES + 1), "m.xml")

import pytest

from reben.errors import ProductError
from reben.scene.safe_files import MAX_XML_BYTES, parse_metadata

LAUGHS = """<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>"""


def test_elements_are_found_by_name_whatever_their_namespace():
    root = parse_metadata(
        b'<?xml version="1.0"?><n:a xmlns:n="urn:1"><b><n:c d="1">x</n:c></b><c>y</c></n:a>', "m"
    )

    assert [element.text for element in root.all("c")] == ["x", "y"]
    assert root.first("c").attributes == {"d": "1"}
    assert root.first_text("nothing", "c") == "x"
    assert root.first_text("nothing") is None


def test_text_in_pieces_is_put_together():
    root = parse_metadata("<a>é&amp;<!-- x -->\n b</a>".encode(), "m")

    assert root.text == "é&\n b"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused_in_any_encoding(encoding):
    with pytest.raises(ProductError, match=r"m\.xml has a document type declaration"):
        parse_metadata(LAUGHS.encode(encoding), "m.xml")


@pytest.mark.parametrize("content", [b"", b"<a>", b"<a></b>", b"\x89PNG", b"<a/><b/>"])
def test_what_is_not_xml_is_refused(content):
    with pytest.raises(ProductError, match=r"m\.xml is not XML"):
        parse_metadata(content, "m.xml")


def test_metadata_that_nest_without_end_or_are_huge_are_refused():
    with pytest.raises(ProductError, match="deep"):
        parse_metadata(b"<a>" * 1000, "m.xml")
    with pytest.raises(ProductError, match="bytes"):
        parse_metadata(b" " * (MAX_XML_BYTES + 1), "m.xml")

from collections.abc import Sequence
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.errors import UnsendableError
from campaign_sync.optimizely.soap_encoding import Columns, Part

texts = st.text().filter(lambda text: not XML_FORBIDDEN.search(text))
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1, max_size=5)
)
ARRAY = Part("in3", "xsd:string", is_array=True)


def sent_and_read(value: object) -> list[object]:
    return soap_encoding.array(
        soap_encoding.parse(soap_encoding.envelope("urn:test", "echo", soap_encoding.argument(ARRAY, value))), str
    )


def columns_of(rows: Sequence[Sequence[str]]) -> Columns:
    return Columns(list(zip(*rows, strict=True)), len(rows))


@given(st.lists(texts))
def test_any_list_of_texts_arrives_as_it_was_sent(values: list[str]) -> None:
    assert sent_and_read(values) == values


@given(tables)
def test_any_rows_of_texts_arrive_as_they_were_sent(rows: list[list[str]]) -> None:
    assert sent_and_read(columns_of(rows)) == rows


@pytest.mark.parametrize("text", ["Jörg <&> \"'", "a\r\nb\rc\nd\te", "]]>", "&amp;", "😀𝒳", " außen ", ""])
def test_special_characters_of_xml_arrive(text: str) -> None:
    assert sent_and_read([text, "danach"]) == [text, "danach"]
    rows = [[text, "danach"], ["davor", text]]
    assert sent_and_read(columns_of(rows)) == rows


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x02", "\x0b", "\x1f", "\ud83d", "\ufffe"])
def test_a_character_that_xml_cannot_carry_is_named_by_position_and_not_by_content(character: str) -> None:
    with pytest.raises(UnsendableError, match="value 1 of in3") as error:
        soap_encoding.argument(ARRAY, ["gut", f"geheim{character}"])
    assert "geheim" not in str(error.value)
    with pytest.raises(UnsendableError, match="value 0 of row 1") as error:
        soap_encoding.argument(ARRAY, columns_of([["gut", "gut"], [f"geheim{character}", "gut"]]))
    assert "geheim" not in str(error.value)


@given(tables)
def test_rows_in_arrow_columns_are_written_as_rows_in_lists_are(rows: list[list[str]]) -> None:
    columns = [pa.chunked_array([column[:1], column[1:]], pa.string()) for column in columns_of(rows).columns]
    assert soap_encoding.argument(ARRAY, Columns(columns, len(rows))) == soap_encoding.argument(ARRAY, columns_of(rows))


def test_a_null_is_encoded_as_an_empty_text() -> None:
    assert sent_and_read(Columns([pa.array(["a", None]), ["b", "c"]], 2)) == [["a", "b"], ["", "c"]]


def answer(result: str, references: str = "") -> soap_encoding.Answer:
    return soap_encoding.parse(
        f"""<e:Envelope xmlns:e="{soap_encoding.ENVELOPE}" xmlns:xsi="{soap_encoding.INSTANCE}"
        xmlns:soapenc="{soap_encoding.ENCODING}"
        ><e:Body><r:opResponse xmlns:r="urn:test">{result}</r:opResponse>{references}</e:Body></e:Envelope>""".encode()
    )


def test_referenced_numbers_are_resolved_even_when_shared() -> None:
    read = answer(
        '<opReturn soapenc:arrayType="xsd:int[3]"><i href="#id0"/><i href="#id1"/><i href="#id0"/></opReturn>',
        '<multiRef id="id1">5</multiRef><multiRef id="id0">0</multiRef>',
    )
    assert soap_encoding.array(read, int) == [0, 5, 0]


def test_nil_and_an_empty_text_stay_different() -> None:
    read = answer('<opReturn soapenc:arrayType="soapenc:string[2]"><i xsi:nil="true"/><i></i></opReturn>')
    assert soap_encoding.array(read, str) == [None, ""]


@pytest.mark.parametrize("result", ["", '<opReturn xsi:nil="true"/>', '<opReturn soapenc:arrayType="xsd:int[0]"/>'])
def test_an_array_without_items_is_an_empty_list(result: str) -> None:
    assert soap_encoding.array(answer(result), int) == []


@given(st.text(st.characters(min_codepoint=0x10000), min_size=1))
def test_surrogate_references_of_axis_become_one_character(text: str) -> None:
    halves = text.encode("utf-16-be")
    references = "".join(f"&#x{halves[i : i + 2].hex().upper()};" for i in range(0, len(halves), 2))
    assert soap_encoding.scalar(answer(f"<opReturn>{references}</opReturn>"), str) == text


@given(texts)
def test_bare_carriage_returns_are_kept(text: str) -> None:
    assert soap_encoding.scalar(answer(f"<opReturn>{escape(text)}</opReturn>"), str) == text


@pytest.mark.parametrize("content", [b"", b"<html><body>Log in</body></html>", b"<e:Envelope", b"\xff\xfe", b"{}"])
def test_an_incomplete_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(soap_encoding.NotSoapError):
        soap_encoding.parse(content)


def test_an_answer_with_entities_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    body = f'<e:Envelope xmlns:e="{soap_encoding.ENVELOPE}"><e:Body><r><v>&a;</v></r></e:Body></e:Envelope>'.encode()
    with pytest.raises(soap_encoding.NotSoapError):
        soap_encoding.parse(bomb + body)

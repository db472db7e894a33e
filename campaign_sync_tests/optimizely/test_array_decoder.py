"""What is read in bulk is what the XML parser reads, and what it doesn't understand is left to the parser."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.optimizely import row_reader, soap_encoding
from campaign_sync.optimizely.array_decoder import (
    STAND_INS,
    JoinedRows,
    ParsedRows,
    RowForm,
    UnexpectedShapeError,
    values,
)
from campaign_sync.optimizely.row_reader import RowList, RowReader
from campaign_sync.sandbox import axis_messages as axis
from campaign_sync.sandbox.wsdl import SERVICES

PAGE = SERVICES["Recipient"]["getAllAdvanced"]
CODES = SERVICES["Recipient"]["addAll3"]
LEFT = SERVICES["Unsubscribe"]["containsAll"]

texts = st.text(st.sampled_from("aä😀<>&\"'\r\n\t]; #x0123\u0085\ud7ff\ufffd") | st.characters(codec="utf-8")).filter(
    lambda text: not XML_FORBIDDEN.search(text)
)
Table = list[list[str | None]]


def answer(rows: Table) -> bytes:
    """As Axis writes it."""
    return axis.answer("Recipient", PAGE, rows)


tables = (
    st.integers(1, 3)
    .flatmap(
        lambda width: st.lists(st.lists(st.none() | texts, min_size=width, max_size=width), min_size=1, max_size=6)
    )
    .filter(lambda rows: sum(byte not in answer(rows) for byte in STAND_INS) >= 3)
)


def parsed(content: bytes) -> Table:
    return soap_encoding.rows(soap_encoding.parse(content))


def read(content: bytes, *, pieces: int = 7) -> tuple[RowList, bytes]:
    """Return the rows of an answer that arrives in pieces of this many bytes, and the rest of the answer."""
    sink = RowList()
    reader = RowReader(sink)
    for start in range(0, len(content), pieces):
        reader.feed(content[start : start + pieces])
    rest = reader.rest()
    reader.end(soap_encoding.array(soap_encoding.parse(rest), str))
    return sink, rest


def in_bulk(content: bytes) -> JoinedRows:
    """All rows at once, without the XML parser."""
    form = RowForm.at(content)
    assert form
    end = content.rfind(form.row_end * 2) + len(form.row_end)
    return form.read(content[len(form.head) : end])


@given(tables)
@example([[None]])
@example([["", None, "]]>"]])
def test_any_rows_are_read_in_bulk_as_the_parser_reads_them(rows: Table) -> None:
    assert in_bulk(answer(rows)).lists() == parsed(answer(rows)) == rows


@given(tables)
def test_rows_as_texts_have_an_empty_text_for_nil(rows: Table) -> None:
    assert in_bulk(answer(rows)).texts() == ParsedRows(rows).texts()


@given(tables, st.integers(1, 400))
def test_rows_that_come_in_pieces_are_the_same_rows(rows: Table, pieces: int) -> None:
    before, row_reader.CHUNK_BYTES = row_reader.CHUNK_BYTES, 300
    try:
        sink, rest = read(answer(rows), pieces=pieces)
    finally:
        row_reader.CHUNK_BYTES = before
    assert sink.rows == rows
    assert len(rest) < len(answer([["x"]]))


UGLY = "aä😀&<>\"'\r\n]~^|`{}\\$\x7f\x80\u2028\ufffd"


def referred_to(character: str, form: str) -> str:
    """Write a character as Axis and others might."""
    halves = character.encode("utf-16-be")
    match form:
        case "decimal":
            return f"&#{ord(character)};"
        case "hexadecimal":
            return f"&#x{ord(character):x};"
        case "padded":
            return f"&#x{ord(character):08X};"
        case "halves":
            return "".join(f"&#x{halves[at : at + 2].hex()};" for at in range(0, len(halves), 2))
    return character if character not in "<>&" else {"<": "&lt;", ">": "&gt;", "&": "&amp;"}[character]


characters = st.builds(
    referred_to, st.sampled_from(UGLY), st.sampled_from(["decimal", "hexadecimal", "padded", "halves", "bare"])
)


@given(st.lists(st.lists(characters, max_size=8).map("".join), min_size=1, max_size=5))
@example(["&#126;", "~"])
@example(["&#126;^|`"])
@example(["&#x7f;", "a"])
def test_however_characters_are_referred_to_rows_are_those_of_the_parser(cells: list[str]) -> None:
    content = written(*map(cell, cells))
    assert read(content)[0].rows == parsed(content)


@given(
    st.lists(st.text(st.sampled_from("&&#x;;amplt01379af~^|`]\x7f\x01\x02ä😀\r"), max_size=12), min_size=1, max_size=4)
)
@example(["&am", "p;"])
@example(["&#", "38;"])
@example(["&#1", "&#26;"])
def test_text_of_any_kind_is_refused_or_read_as_the_parser_does(cells: list[str]) -> None:
    content = written(*map(cell, cells))
    try:
        expected = parsed(content)
    except soap_encoding.NotSoapError:
        with pytest.raises(soap_encoding.NotSoapError):
            read(content)
        return
    assert read(content)[0].rows == expected


def test_rows_with_every_byte_that_separators_might_be_are_left_to_the_parser() -> None:
    content = written(cell(STAND_INS.decode()), cell("ä&#228;"))
    with pytest.raises(UnexpectedShapeError):
        in_bulk(content)
    assert read(content)[0].rows == [[STAND_INS.decode()], ["ää"]]


def test_a_reference_to_a_byte_that_stands_for_a_separator_is_left_to_the_parser() -> None:
    content = written(cell("a&#127;b"), cell("c"))
    with pytest.raises(UnexpectedShapeError):
        in_bulk(content)
    assert read(content)[0].rows == [["a\x7fb"], ["c"]]


ROW = '<r soapenc:arrayType="soapenc:string[1]" xsi:type="soapenc:Array">{}</r>'
CELL = '<r xsi:type="soapenc:string">{}</r>'


def written(
    *rows: str, head: str = '<?xml version="1.0" encoding="utf-8"?>', soapenc: str = soap_encoding.ENCODING
) -> bytes:
    """Return an answer with the given markup as its rows."""
    return (
        f'{head}<e:Envelope xmlns:e="{soap_encoding.ENVELOPE}" xmlns:xsi="{soap_encoding.INSTANCE}"><e:Body>'
        f'<n:opResponse xmlns:n="u:n">'
        f'<r soapenc:arrayType="soapenc:string[][2]" xsi:type="soapenc:Array" xmlns:soapenc="{soapenc}">'
        f"{''.join(rows)}</r></n:opResponse></e:Body></e:Envelope>"
    ).encode()


def cell(text: str) -> str:
    return ROW.format(CELL.format(text))


UNUSUAL = {
    "character data": cell("<![CDATA[a<b]]>"),
    "a comment": cell("a<!-- no -->b"),
    "an element without a type": ROW.format("<r>a</r>"),
    "another name": ROW.format('<s xsi:type="soapenc:string">a</s>'),
    "a row that is nil": '<r xsi:type="soapenc:Array" xsi:nil="true"/>',
    "a row of no values": '<r soapenc:arrayType="soapenc:string[0]" xsi:type="soapenc:Array"/>',
    "a row of more values": ROW.replace("[1]", "[2]").format(CELL.format("a") * 2),
    "an empty element": ROW.format('<r xsi:type="soapenc:string"/>'),
    "a bare greater-than": cell("a > b"),
    "blanks between rows": f"\n  {cell('a')}\n",
    "nil written otherwise": ROW.format('<r xsi:nil="1"/>'),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_markup_unlike_that_of_axis_is_left_to_the_parser(kind: str) -> None:
    content = written(cell("vorher"), UNUSUAL[kind], cell("nachher"))
    sink, _ = read(content)
    assert sink.rows == parsed(content)
    assert len(sink.rows) == 3


@pytest.mark.parametrize(
    "text",
    [
        "&lt",
        "&auml;",
        "&#0;",
        "&#x1;",
        "&#xFFFE;",
        "&#55357;&#56832;",
        "&;",
        "& ",
        "\x01",
        "\x0b",
        "\ufffe",
    ],
)
def test_text_that_is_not_xml_is_not_decoded_in_bulk(text: str) -> None:
    content = written(cell("vorher"), cell(text))
    with pytest.raises(UnexpectedShapeError):
        in_bulk(content)
    with pytest.raises(soap_encoding.NotSoapError):
        read(content)


@pytest.mark.parametrize("half", ["&#xD83D;", "&#xDE00;", "&#xDE00;&#xD83D;", "&#xd83d;"])
def test_half_a_character_is_replaced_and_the_other_rows_are_kept(half: str) -> None:
    content = written(cell("vorher"), cell(f"cut {half}"), cell("&#xD83D;&#xDE00;"))
    with pytest.raises(UnexpectedShapeError):
        in_bulk(content)
    sink, _ = read(content)
    lost = "\ufffd" * half.count(";")
    assert sink.rows == [["vorher"], [f"cut {lost}"], ["😀"]]


@pytest.mark.parametrize(
    "text", ["&#38;lt;", "&amp;lt;", "&amp;#65;", "&#x26;amp;", "&#x00041;", "&lt;&#13;&quot;&apos;"]
)
def test_references_are_resolved_once(text: str) -> None:
    content = written(cell(text), cell("x"))
    assert in_bulk(content).lists() == parsed(content)


@pytest.mark.parametrize("text", ["ü", "&", "&lt;", "😀", "&amp;auml;", "a&"])
def test_frequent_references_are_resolved_like_rare_ones(text: str) -> None:
    rows: Table = [[text * 30, "x", f"{text} {number}"] for number in range(100)]
    assert in_bulk(answer(rows)).lists() == rows


def test_many_different_characters_are_read_as_few_are() -> None:
    rows: Table = [[chr(number), f"&{chr(number)}<"] for number in range(0x4E00, 0x4E00 + 500)]
    assert in_bulk(answer(rows)).lists() == rows


@pytest.mark.parametrize(
    "content",
    [
        written(cell("a"), soapenc="urn:something-else"),
        written(cell("a"), head='<?xml version="1.0" encoding="iso-8859-1"?>'),
        written(cell("ä")).replace(b"\xc3\xa4", b"\xe4").replace(b"utf-8", b"iso-8859-1"),
    ],
)
def test_other_answers_are_left_to_the_parser(content: bytes) -> None:
    assert RowForm.at(content) is None
    assert read(content)[0].rows == parsed(content)


def test_referenced_rows_are_read_with_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_reader, "CHUNK_BYTES", 300)
    rows = [cell(str(number)) for number in range(20)]
    rows[1] = '<r href="#id0"/>'
    begin = f'<multiRef id="id0" xmlns:soapenc="{soap_encoding.ENCODING}" '
    apart = cell("apart").replace("<r ", begin, 1)[: -len("</r>")] + "</multiRef>"
    content = written(*rows).replace(b"</e:Body>", f"{apart}</e:Body>".encode())
    sink, _ = read(content, pieces=50)
    assert sink.rows == parsed(content)
    assert sink.rows[1] == ["apart"]


def test_arrays_within_rows_are_refused() -> None:
    with pytest.raises(soap_encoding.NotSoapError):
        RowReader(RowList()).end([[["a"]]])  # type: ignore[list-item]


def test_bytes_that_are_not_utf_8_are_not_soap() -> None:
    with pytest.raises(soap_encoding.NotSoapError):
        read(written(cell("ä"), cell("b")).replace(b"\xc3\xa4", b"\xe4"))


def test_an_answer_that_is_cut_off_is_not_soap() -> None:
    content = answer([["a", "b"], ["c", "d"]])
    for end in range(0, len(content), 11):
        with pytest.raises(soap_encoding.NotSoapError):
            read(content[:end])


@pytest.mark.parametrize("content", [answer([]), axis.fault(axis.SoapError("x"))], ids=["no rows", "a fault"])
def test_an_answer_without_rows_is_kept_whole(content: bytes) -> None:
    sink, reader = RowList(), RowReader(RowList())
    reader.feed(content)
    assert reader.rest() == content
    assert sink.rows == []


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
@example([number % 3 - 1 for number in range(1000)])
def test_numbers_are_read_in_bulk_as_the_parser_reads_them(numbers: list[int]) -> None:
    content = axis.answer("Recipient", CODES, numbers)
    decoded = values(content)
    assert decoded
    assert [int(text) for text in decoded[1]] == numbers == soap_encoding.array(soap_encoding.parse(content), int)


@given(st.lists(st.booleans(), min_size=1))
def test_booleans_are_read_in_bulk_as_the_parser_reads_them(truths: list[bool]) -> None:
    content = axis.answer("Unsubscribe", LEFT, truths)
    decoded = values(content)
    assert decoded
    assert [text == "true" for text in decoded[1]] == truths


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('href="#id0"', 'href="#id9"'),
        ("</multiRef>", "<!-- --></multiRef>"),
        (">false<", "> false<"),
        (">false<", ">fals&#101;<"),
        ('id="id0"', "id='id0'"),
        ('xsi:type="xsd:boolean"', 'xsi:type="xsd:string"'),
        ('<containsAllReturn href="#id0"/>', '<containsAllReturn xsi:nil="true"/>'),
        ('<containsAllReturn href="#id0"/>', '<containsAllReturn href="#id0"></containsAllReturn>'),
        (">false<", ">\x01false<"),
        ('">false<', '"\x01>false<'),
    ],
)
def test_values_unlike_those_of_axis_are_left_to_the_parser(old: str, new: str) -> None:
    content = axis.answer("Unsubscribe", LEFT, [False, True]).decode()
    assert old in content
    assert values(content.replace(old, new).encode()) is None

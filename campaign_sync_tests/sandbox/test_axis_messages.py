from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from lxml import etree

from campaign_sync.sandbox.axis_messages import SoapError, answer, parse
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.sandbox.wsdl import SERVICES
from campaign_sync.sandbox.xml_text import PLACEHOLDER, extract_rows
from campaign_sync_tests.sandbox.client import Client, FaultError, element, envelope, read
from campaign_sync_tests.sandbox.conftest import NEWSLETTER, NORD, OPT_IN_LIST

ROW = '<i xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[1]"><i>Anna</i></i>'


def add_all(nord: Client, values: str) -> list[int]:
    """Call addAll3 for one recipient, with this markup of its attribute values."""
    arguments: list[tuple[str, Any]] = [
        ("string", nord.session_id),
        ("long", NEWSLETTER),
        ("long", 0),
        ("string[]", ["a@example.org"]),
        ("string[]", ["a@example.org"]),
        ("string[]", ["Vorname"]),
    ]
    content = "".join(element(f"in{i}", kind, value) for i, (kind, value) in enumerate(arguments))
    codes: list[int] = read(nord.send("Recipient", envelope("Recipient", "addAll3", content + values)))
    return codes


@pytest.mark.parametrize(
    "values",
    [
        f'<in6 xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[][1]">{ROW}</in6>',
        '<in6 xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[][1]"><i><i>Anna</i></i></in6>',
        f"<in6>{ROW}</in6>",
    ],
)
def test_rows_declared_as_arrays_are_read(state: VendorState, nord: Client, values: str) -> None:
    assert add_all(nord, values) == [0]
    assert state.recipients(NEWSLETTER)[0]["attributes"] == {"Vorname": "Anna"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("<in6><i><i>Anna</i></i></in6>", "No deserializer for {http://www.w3.org/2001/XMLSchema}anyType"),
        (f'<in6><i xsi:type="xsd:string">{ROW}</i></in6>', "encountered a child element, which is NOT expected"),
    ],
)
def test_rows_not_declared_as_arrays_are_refused(nord: Client, values: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        add_all(nord, values)


@pytest.mark.parametrize(
    ("rows", "read_as"),
    [
        ("<i><i>A</i><i/></i><i><i>B</i><i>C</i></i>", [["A", ""], ["B", "C"]]),
        ("<i><i>&lt;&amp;&gt;</i></i><i><i>&amp;lt;&#13;&#38;#13;</i></i>", [["<&>"], ["&lt;\r&#13;"]]),
        ("<i><i><![CDATA[<i/>]]></i></i><i><i>🌻\u0085</i></i>", [["<i/>"], ["🌻\u0085"]]),
        ('<i><i>A</i></i><i><i xsi:nil="true"/></i>', [["A"], [None]]),
        ('<i><i>A</i></i><i xsi:nil="true"/>', [["A"], None]),
        ('<i><i>A</i></i><i><i href="#other"/></i>', [["A"], ["elsewhere"]]),
        ("<i><i>A</i></i><i/>", [["A"], []]),
        ("<i/><i/>", [[], []]),
        ("<i><i>A</i><j>B</j></i><i><j>C</j></i>", [["A", "B"], ["C"]]),
        ("\n<i>\n<i>A</i>\n</i>\n<i>x<i>B</i>y</i>z", [["A"], ["B"]]),
        ("<i><i>A</i></i><i n='>'><i>B</i></i>", [["A"], ["B"]]),
        ("<i n='>'><i>A</i></i>" * 2, [["A"], ["A"]]),
        ("<i><i>A\r\nB</i></i><i><i>&quot;&#228;</i></i>", [["A\nB"], ['"ä']]),
        ("<i><i>A<!-- <i> --></i></i>", [["A"]]),
    ],
)
def test_rows_are_read_the_same_in_any_markup(rows: str, read_as: list[list[str | None] | None]) -> None:
    arguments = "".join(f"<in{i}>{'' if i > 2 else i}</in{i}>" for i in range(6))
    values = f'<in6 soapenc:arrayType="xsd:string[][]">{rows}</in6>'
    apart = '<multiRef id="other" xsi:type="xsd:string">elsewhere</multiRef>'
    request = parse("Recipient", envelope("Recipient", "addAll3", arguments + values, apart).encode())

    assert request.arguments["attributeValues"] == read_as


def test_rows_with_the_same_markup_are_extracted_before_parsing() -> None:
    opening = '<item xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[2]">'
    rows = f"{opening}<item>A</item><item/></item>{opening}<item>B &amp; C</item><item>Ä</item></item>"
    taken = extract_rows(envelope("Recipient", "addAll3", f"<in6>{rows}</in6>").encode())

    assert taken is not None
    assert taken[1] == [["A", ""], ["B & C", "Ä"]]
    assert f"<in6>{opening}<item>{PLACEHOLDER}</item></item></in6>".encode() in taken[0]


@pytest.mark.parametrize("cell", ["]]&gt;]]>", "\x02", "\ufffe", "&unknown;", "&", "<i>", "</in6>"])
def test_rows_that_are_not_xml_are_refused_in_bulk_too(cell: str) -> None:
    content = f"<in6>{'<i><i>A</i></i>' * 2}<i><i>{cell}</i></i></in6>"
    with pytest.raises(SoapError, match="SAXParseException"):
        parse("Recipient", envelope("Recipient", "addAll3", content).encode())


@pytest.mark.parametrize(
    "content",
    [
        "<in4><i><i>a</i></i></in4>",
        "<in6 href='#there'/><in6><i><i>a</i></i></in6>",
        "<in6><i xsi:type='xsd:string'><i>a</i></i></in6>",
    ],
)
def test_misplaced_rows_are_refused(content: str) -> None:
    with pytest.raises(SoapError):
        parse("Recipient", envelope("Recipient", "addAll3", content).encode())


def test_flat_arrays_need_no_type_and_accept_any_item_name(nord: Client) -> None:
    content = element("in0", "string", nord.session_id) + "<in1><x>a@example.org</x><y>b@example.org</y></in1>"

    assert read(nord.send("Unsubscribe", envelope("Unsubscribe", "containsAll", content))) == [False, False]


def test_parameters_may_come_by_their_java_names_in_any_order(nord: Client) -> None:
    content = (
        element("recipientFilterId", "long", 0)
        + element("recipientListId", "long", NEWSLETTER)
        + element("sessionId", "string", nord.session_id)
    )

    assert read(nord.send("Recipient", envelope("Recipient", "getCount", content))) == 0


def test_parameters_with_unknown_names_count_by_position(nord: Client) -> None:
    content = element("a", "string", nord.session_id) + element("b", "long", NEWSLETTER) + element("c", "long", 0)

    assert read(nord.send("Recipient", envelope("Recipient", "getCount", content))) == 0


def test_values_may_be_references(state: VendorState, nord: Client) -> None:
    content = element("in0", "string", nord.session_id) + '<in1 href="#list"/><in2 href="#names"/>'
    apart = (
        f'<multiRef id="names" xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[1]"><i href="#name"/></multiRef>'
        f'<multiRef id="list" xsi:type="xsd:long">{NEWSLETTER}</multiRef>'
        f'<multiRef id="name" xsi:type="xsd:string">Recipient</multiRef>'
    )
    state.put(NEWSLETTER, [{"id": "a@example.org"}])

    assert read(nord.send("Recipient", envelope("Recipient", "getAll", content, apart))) == [["a@example.org"]]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("int", NEWSLETTER, r"Bad types \(int -> long\)"),
        ("string", NEWSLETTER, r"Bad types \(class java.lang.String -> long\)"),
        ("long", "many", "NumberFormatException"),
        ("long", None, "arguments do not match the signature"),
    ],
)
def test_a_scalar_of_another_type_is_refused(nord: Client, kind: str, value: Any, message: str) -> None:
    content = element("in0", "string", nord.session_id) + element("in1", kind, value)

    with pytest.raises(FaultError, match=message):
        nord.send("Recipient", envelope("Recipient", "clear", content))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<e:Envelope", "SAXParseException"),
        (envelope("Recipient", "dance", ""), "No such operation 'dance'"),
        (envelope("Recipient", "getVersion", "<in0>x</in0>"), "No such operation 'getVersion'"),
    ],
)
def test_an_invalid_call_is_answered_with_a_fault(anonymous: Client, body: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        anonymous.send("Recipient", body)


def test_numbers_are_answered_by_reference_in_any_order(nord: Client) -> None:
    content = element("in0", "string", nord.session_id)
    body = etree.fromstring(nord.send("RecipientList", envelope("RecipientList", "getAllIds", content)))[0]
    items = [item.attrib for item in body[0][0]]

    assert items == [{"href": "#id0"}, {"href": "#id1"}]
    assert {(part.get("id"), part.text) for part in body[1:]} == {("id0", str(NEWSLETTER)), ("id1", str(OPT_IN_LIST))}


def test_equal_booleans_share_one_reference(nord: Client) -> None:
    content = element("in0", "string", nord.session_id) + element("in1", "string[]", ["a", "b", "c"])
    body = etree.fromstring(nord.send("Unsubscribe", envelope("Unsubscribe", "containsAll", content)))[0]

    assert [item.get("href") for item in body[0][0]] == ["#id0"] * 3
    assert len(body) == 2


@pytest.mark.parametrize(
    ("scheduled_at", "returned"),
    [
        (datetime(2026, 11, 24, 5, 30, tzinfo=timezone(timedelta(hours=1))), ">2026-11-24T04:30:00.000Z</"),
        (datetime(2026, 11, 24, 4, 30, 0, 123000, UTC), ">2026-11-24T04:30:00.123Z</"),
        (None, ' xsi:nil="true"/>'),
    ],
)
def test_a_time_is_answered_in_utc_without_a_reference(
    state: VendorState, nord: Client, scheduled_at: datetime | None, returned: str
) -> None:
    state.add_mailing(NORD, 71, "Mai", status="NEW", list_ids=[NEWSLETTER], scheduled_at=scheduled_at)
    content = element("in0", "string", nord.session_id) + element("in1", "long", 71)
    answer = nord.send("Mailing", envelope("Mailing", "getScheduleDate", content))

    assert f'<getScheduleDateReturn xsi:type="xsd:dateTime"{returned}' in answer.decode()
    assert b"multiRef" not in answer


def test_an_answer_without_value_is_an_empty_element(nord: Client) -> None:
    content = element("in0", "string", nord.session_id) + element("in1", "long", NEWSLETTER)

    assert b"clearResponse" in (answer := nord.send("Recipient", envelope("Recipient", "clear", content)))
    assert b"/></soapenv:Body>" in answer


def test_letters_beyond_ascii_are_answered_as_numbers(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Ort": "Köln €"}}])
    answer = nord.send("Recipient", envelope("Recipient", "getAll", _orte(nord)))

    assert b"K&#246;ln &#8364;" in answer
    assert read(answer) == [["Köln €"]]


def test_an_emoji_is_answered_like_axis_as_invalid_xml(state: VendorState, nord: Client) -> None:
    state.put(NEWSLETTER, [{"id": "a@example.org", "attributes": {"Ort": "🌻"}}])
    answer = nord.send("Recipient", envelope("Recipient", "getAll", _orte(nord)))

    assert b"&#xD83C;&#xDF3B;" in answer
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(answer)


@pytest.mark.parametrize(
    "rows",
    [
        [["a", ""], ['<&">]]>', "Köln €"], ["🌻", "&amp;"]],
        [["a", None], [None, None], ["\r\n\t", "b"]],
        [["a", "b"], ["c"]],
        [["a"], None, ["b"]],
        [["a\x01", "b"], ["\x02", "\x03"], ["c", None]],
        [["a\x01b"], ["c"]],
        [[], []],
        [[], ["a"]],
        [],
    ],
)
def test_rows_are_encoded_the_same_in_bulk_and_one_by_one(rows: list[list[str | None] | None]) -> None:
    operation = SERVICES["Recipient"]["getAll"]
    at_once = answer("Recipient", operation, rows)

    one_by_one = answer("Recipient", operation, [row if row is None else tuple(row) for row in rows])
    assert at_once == one_by_one
    assert (b"xsi:nil" in at_once) == any(row is None or None in row for row in rows)


def test_rows_are_written_as_axis_writes_them() -> None:
    written = answer("Recipient", SERVICES["Recipient"]["getAll"], [["Ärger & Söhne", None], ["", "🌻"]])

    assert written.decode("ascii") == (
        '<?xml version="1.0" encoding="utf-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><ns1:getAllResponse '
        'soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/" '
        'xmlns:ns1="urn:api.broadmail.de/soap11/RpcRecipient"><getAllReturn soapenc:arrayType="soapenc:string[][2]" '
        'xsi:type="soapenc:Array" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">'
        '<getAllReturn soapenc:arrayType="soapenc:string[2]" xsi:type="soapenc:Array">'
        '<getAllReturn xsi:type="soapenc:string">&#196;rger &amp; S&#246;hne</getAllReturn>'
        '<getAllReturn xsi:type="soapenc:string" xsi:nil="true"/></getAllReturn>'
        '<getAllReturn soapenc:arrayType="soapenc:string[2]" xsi:type="soapenc:Array">'
        '<getAllReturn xsi:type="soapenc:string"></getAllReturn>'
        '<getAllReturn xsi:type="soapenc:string">&#xD83C;&#xDF3B;</getAllReturn></getAllReturn></getAllReturn>'
        "</ns1:getAllResponse></soapenv:Body></soapenv:Envelope>"
    )


def _orte(nord: Client) -> str:
    return (
        element("in0", "string", nord.session_id)
        + element("in1", "long", NEWSLETTER)
        + element("in2", "string[]", ["Ort"])
    )

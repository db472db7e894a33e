import codecs
import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.delivered_files import csv_decoder
from campaign_sync.delivered_files.csv_decoder import SEPARATORS, decode_csv, salvage_csv
from campaign_sync.delivered_files.errors import FileSourceError, UnreachableFilesError

NAME = "outbounces_1.csv"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8) | st.text(
    '";,\t|\r\n a', max_size=6
)
plain_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff;,\t|\r\n"), max_size=8)
separators = st.sampled_from(SEPARATORS)


def tables(values: st.SearchStrategy[str], narrowest: int) -> st.SearchStrategy[list[list[str]]]:
    """Rows of one width."""
    return st.integers(narrowest, 5).flatmap(
        lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=8)
    )


def written(rows: list[list[str]], separator: str, *, quote_all: bool = False) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue().encode()


@given(
    rows=st.lists(st.lists(texts, min_size=1, max_size=5), max_size=8),
    separator=separators,
    quote_all=st.booleans(),
    mark=st.booleans(),
    gzipped=st.booleans(),
)
def test_the_output_of_a_csv_writer_is_read_back(
    rows: list[list[str]], separator: str, quote_all: bool, mark: bool, gzipped: bool
) -> None:
    content = (codecs.BOM_UTF8 if mark else b"") + written(rows, separator, quote_all=quote_all)
    assert decode_csv(gzip.compress(content) if gzipped else content, separator, name=NAME) == rows


@given(rows=tables(plain_texts, 2), separator=separators, quote_all=st.booleans())
def test_the_separator_is_detected_if_no_value_holds_one(
    rows: list[list[str]], separator: str, quote_all: bool
) -> None:
    assert decode_csv(written(rows, separator, quote_all=quote_all), None, name=NAME) == rows


@given(rows=tables(texts, 2), separator=separators, quote_all=st.booleans())
def test_the_separator_is_detected_or_demanded_but_never_wrong(
    rows: list[list[str]], separator: str, quote_all: bool
) -> None:
    try:
        assert decode_csv(written(rows, separator, quote_all=quote_all), None, name=NAME) == rows
    except FileSourceError as error:
        assert "name the separator in the configuration" in str(error)  # noqa: PT017 - it may also be found


@given(rows=tables(plain_texts, 1).filter(lambda rows: len(rows[0]) == 1), quote_all=st.booleans())
def test_a_file_with_one_column_needs_no_separator(rows: list[list[str]], quote_all: bool) -> None:
    assert decode_csv(written(rows, ";", quote_all=quote_all), None, name=NAME) == rows


@pytest.mark.parametrize(
    "content",
    [b"a;1,5\nb;2,5\n", b"a@example.org\nb@example.org;1\n", b"a;b\nc;d;e\n"],
    ids=["two fit", "some", "ragged"],
)
def test_a_separator_that_cannot_be_detected_must_be_configured(content: bytes) -> None:
    with pytest.raises(FileSourceError, match=rf"{NAME} doesn't show .* name the separator in the configuration"):
        decode_csv(content, None, name=NAME)


def test_a_header_distinguishes_a_separator_from_a_decimal_comma() -> None:
    assert decode_csv(b"who;score\na;1,5\n", None, name=NAME) == [["who", "score"], ["a", "1,5"]]


@pytest.mark.parametrize("content", [b"a;b\nc;d\ne\n", b'"a";"b"\n"c";"d"\n"e"\n', b"a;b\nc;d;e\nf;g\n"])
def test_the_only_separator_is_detected_despite_a_row_of_another_width(content: bytes) -> None:
    assert decode_csv(content, None, name=NAME)[0] == ["a", "b"]


def test_the_separator_of_a_truncated_file_is_detected() -> None:
    with pytest.raises(UnreachableFilesError, match="cut off"):
        decode_csv(b'a;b\n"c;d', None, name=NAME)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_line_ends_are_read(end: bytes) -> None:
    content = b"a;b" + end + end + b'"c\r\nd";e' + end
    assert decode_csv(content, ";", name=NAME) == [["a", "b"], ["c\r\nd", "e"]]
    assert decode_csv(content.removesuffix(end), ";", name=NAME) == [["a", "b"], ["c\r\nd", "e"]]


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, b"\r\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_no_rows(content: bytes) -> None:
    assert decode_csv(content, None, name=NAME) == []


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_latin_1_file_is_refused_with_the_place_and_the_remedy(mark: bytes) -> None:
    content = mark + b"name\n" + "Jörg;joerg@example.org\n".encode("latin-1")
    with pytest.raises(FileSourceError) as error:
        decode_csv(content, ";", name=NAME)
    assert f"{NAME} isn't UTF-8 at byte {len(mark) + 6} (counted from 0, in line 2)" in str(error.value)
    assert "set the vendor's job to UTF-8" in str(error.value)
    assert "example.org" not in str(error.value)
    assert error.value.__context__ is None


def test_utf_16_is_refused_with_the_remedy() -> None:
    with pytest.raises(FileSourceError, match=r"isn't UTF-8 at byte 0 .* to UTF-8"):
        decode_csv(codecs.BOM_UTF16_LE + "a;b".encode("utf-16-le"), ";", name=NAME)
    with pytest.raises(FileSourceError, match=r"has a NUL at byte 1 .* to UTF-8"):
        decode_csv("a;b".encode("utf-16-le"), ";", name=NAME)


@pytest.mark.parametrize("content", [b'a;b\n"c', b'a;b\n"', b'a;b\nc;"d\ne;f\n', b'"a""'])
def test_a_file_that_ends_within_quotes_is_cut_off(content: bytes) -> None:
    with pytest.raises(UnreachableFilesError, match=rf"{NAME} is cut off"):
        decode_csv(content, ";", name=NAME)


def test_text_after_a_closing_quote_is_refused_with_its_line() -> None:
    with pytest.raises(FileSourceError, match=rf"{NAME} isn't CSV as in RFC 4180 in line 2") as error:
        decode_csv(b'a;b\n"carla"x;d\n', ";", name=NAME)
    assert "carla" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 1, 12, -1])
def test_truncated_gzip_is_cut_off(keep: int) -> None:
    with pytest.raises(
        (UnreachableFilesError, FileSourceError), match=r"outbounces_1\.csv\.gz (is cut off|isn't gzip)"
    ):
        decode_csv(gzip.compress(b"a;b\n" * 100)[:keep], ";", name=NAME + ".gz")


@pytest.mark.parametrize("content", [b"a;b\n", gzip.compress(b"a;b\n" * 100, mtime=0)[:-9] + b"x" * 9])
def test_invalid_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(FileSourceError, match="isn't gzip, or damaged"):
        decode_csv(content, ";", name=NAME + ".gz")


def test_gzip_of_several_parts_is_one_file() -> None:
    assert decode_csv(gzip.compress(b"a;b\n") + gzip.compress(b"c;d\n"), ";", name=NAME) == [["a", "b"], ["c", "d"]]


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_decoder, "MAX_BYTES", 3_000_000)
    bomb = gzip.compress(bytes(3_000_001))
    with pytest.raises(FileSourceError, match="unpacks to more than 3000000 bytes"):
        decode_csv(bomb, ";", name=NAME)


def test_concatenated_files_have_several_byte_order_marks() -> None:
    part = codecs.BOM_UTF8 + b'"who";when\r\na;b\r\n'
    assert decode_csv(part + part, None, name=NAME) == 2 * [["who", "when"], ["a", "b"]]


def test_a_row_in_another_encoding_costs_no_other_row() -> None:
    salvaged = salvage_csv(b"who;name\nj\xf6rg@example.org;J\nanna@example.org;B\xf6\n\0;x\n", None, name=NAME)
    assert salvaged.rows == [
        ["who", "name"],
        ["j\ufffdrg@example.org", "J"],
        ["anna@example.org", "B\ufffd"],
        ["\ufffd", "x"],
    ]
    assert (salvaged.unread, "isn't UTF-8 at byte 10" in salvaged.trouble) == (0, True)


def test_text_after_a_closing_quote_costs_one_row() -> None:
    salvaged = salvage_csv(b'a;b\n"carla"x;d\ne;f\n', ";", name=NAME)
    assert (salvaged.rows, salvaged.unread) == ([["a", "b"], ["e", "f"]], 1)
    assert "in line 2; set the vendor's job to quote" in salvaged.trouble


def test_an_unclosed_quote_costs_the_rows_after_it() -> None:
    salvaged = salvage_csv(b'a;b\nc;"d\ne;f\n', None, name=NAME)
    assert (salvaged.rows, salvaged.unread) == ([["a", "b"]], 1)
    assert "is cut off" in salvaged.trouble


@pytest.mark.parametrize("content", [b"a;b\nc;d;e\n", gzip.compress(b"a;b\n" * 100, mtime=0)[:-9], b"\x1f\x8b\n"])
def test_unreadable_rows_are_counted_and_have_a_remedy(content: bytes) -> None:
    salvaged = salvage_csv(content, None, name=NAME)
    assert salvaged.rows == []
    assert salvaged.unread >= 1
    assert salvaged.trouble.startswith(NAME)


@given(st.binary(max_size=200), separators | st.none(), st.sampled_from([NAME, NAME + ".gz"]))
def test_any_content_is_read_or_counted(content: bytes, separator: str | None, name: str) -> None:
    try:
        rows = decode_csv(content, separator, name=name)
    except (FileSourceError, UnreachableFilesError):
        salvaged = salvage_csv(content, separator, name=name)
        assert salvaged.trouble
        assert salvaged.rows or salvaged.unread
        assert all("\0" not in cell for row in salvaged.rows for cell in row)
    else:
        assert salvage_csv(content, separator, name=name).rows == rows

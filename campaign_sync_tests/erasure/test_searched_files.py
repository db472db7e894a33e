"""A removal that ended early goes on with the files that weren't searched."""

from pathlib import Path

from campaign_sync.erasure.searched_files import SearchedFiles
from campaign_sync.storage.files import FileStorage


def test_only_what_was_searched_for_everybody_who_is_pending_isnt_searched_again(tmp_path: Path) -> None:
    files = FileStorage(str(tmp_path))
    first = SearchedFiles(files, ["e1"])
    assert not first.covers("a")
    first.add("a")
    first.add("b")
    first.save()
    assert SearchedFiles(files, ["e1"]).covers("a")
    both = SearchedFiles(files, ["e1", "e2"])
    assert not both.covers("a")
    both.add("b")
    both.save()
    SearchedFiles(files, ["e2"]).save()
    two = SearchedFiles(files, ["e2"])
    assert (two.covers("a"), two.covers("b")) == (False, True)
    two.add("a")
    two.save()
    assert SearchedFiles(files, ["e1", "e2"]).covers("b")
    assert not SearchedFiles(files, ["e3"]).covers("b")
    assert files.documents("erasure_searches") == []


def test_what_isnt_understood_is_searched_again(tmp_path: Path) -> None:
    files = FileStorage(str(tmp_path))
    for number, content in enumerate((b"", b"[]", b'{"erasures": 1}', b'{"erasures": ["e1"], "files": null}')):
        files.write_document(f"erasure_searches/{number}.json", content)
    assert not SearchedFiles(files, ["e1"]).covers("a")

"""Styles are put around prompts as people know it, and files of other programs are read as far as they make sense."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.shelf import ANNA, BOB, shelf
from webui.errors import NotFound, TooMany, UnknownName, UserError
from webui.params import LONGEST_PROMPT
from webui.service import styles as module
from webui.service.styles import LARGEST_FILE, Style, Styles, around, read_csv, styled


@pytest.fixture
def styles(tmp_path: Path) -> Styles:
    return Styles(shelf(tmp_path).database)


def names(styles: Styles) -> list[str]:
    return [style.name for style in styles.list(ANNA)]


# --- keeping


def test_styles_are_kept_by_name_for_each_person(styles: Styles) -> None:
    styles.put(ANNA, Style(name=" photo ", prompt="photo of {prompt}", negative="drawing"))
    styles.put(ANNA, Style(name="Anime", prompt="anime"))
    styles.put(ANNA, Style(name="photo", prompt="a photo"))
    assert styles.list(ANNA) == [Style(name="Anime", prompt="anime"), Style(name="photo", prompt="a photo")]
    assert styles.list(BOB) == []
    with pytest.raises(NotFound):
        styles.remove(BOB, "photo")
    styles.remove(ANNA, "photo")
    assert names(styles) == ["Anime"]
    with pytest.raises(NotFound, match="There is no style 'photo'"):
        styles.remove(ANNA, "photo")


def test_a_style_gets_another_name_unless_that_is_taken(styles: Styles) -> None:
    styles.put(ANNA, Style(name="a", prompt="1"))
    styles.put(ANNA, Style(name="b", prompt="2"))
    with pytest.raises(UserError, match="already"):
        styles.put(ANNA, Style(name="b", prompt="3"), instead_of="a")
    with pytest.raises(NotFound):
        styles.put(ANNA, Style(name="d"), instead_of="c")
    styles.put(ANNA, Style(name="c", prompt="3"), instead_of="a")
    styles.put(ANNA, Style(name="c", prompt="4"), instead_of="c")
    assert styles.list(ANNA) == [Style(name="b", prompt="2"), Style(name="c", prompt="4")]


@pytest.mark.parametrize(
    "style",
    [
        Style(name=""), Style(name=" \n"), Style(name="a\nb"), Style(name="x" * 101), Style(name="a\0"), Style(name="\ud800"),
        Style(name="a", prompt="x" * (LONGEST_PROMPT + 1)), Style(name="a", negative="\0"), Style(name="a", prompt="\udfff"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_style_is_refused(styles: Styles, style: Style) -> None:
    with pytest.raises(UserError):
        styles.put(ANNA, style)
    assert names(styles) == []


def test_there_is_a_most(styles: Styles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STYLES", 2)
    for name in "ab":
        styles.put(ANNA, Style(name=name))
    with pytest.raises(TooMany, match="There are 2 styles"):
        styles.put(ANNA, Style(name="c"))
    styles.put(ANNA, Style(name="b", prompt="new"))
    styles.put(ANNA, Style(name="c"), instead_of="a")
    assert names(styles) == ["b", "c"]
    done = styles.import_csv(ANNA, b"name,prompt,negative_prompt\nb,1,\nd,2,\n")
    assert done.replaced == ("b",) and done.added == () and "'d': There are 2 styles" in done.left_out[0]


# --- around prompts


@pytest.mark.parametrize(
    ("style", "prompt", "together"),
    [
        ("photo of {prompt}, sharp", "a ball", "photo of a ball, sharp"), ("sharp", "a ball", "a ball, sharp"),
        ("sharp", "", "sharp"), ("", "a ball", "a ball"), ("{prompt} and {prompt}", "x", "x and x"), ("{prompt}", "", ""),
        ("{}{prompt:x}", "a", "a, {}{prompt:x}"), ("%s {0} {prompt}", "{prompt}", "%s {0} {prompt}"),
    ],
)  # fmt: skip
def test_the_prompt_goes_into_the_hole_else_before_the_style(style: str, prompt: str, together: str) -> None:
    assert around(style, prompt) == together


def test_styles_are_applied_one_after_the_other_to_both_prompts(styles: Styles) -> None:
    styles.put(ANNA, Style(name="inner", prompt="({prompt})", negative="ugly"))
    styles.put(ANNA, Style(name="outer", prompt="best", negative="[{prompt}]"))
    assert styles.apply(ANNA, ["inner", "outer"], "a", "b") == ("(a), best", "[b, ugly]")
    assert styles.apply(ANNA, ["outer", "inner"], "a", "b") == ("(a, best)", "[b], ugly")
    assert styles.apply(ANNA, [], "a", "b") == ("a", "b")
    with pytest.raises(UnknownName, match="did you mean inner"):
        styles.apply(ANNA, ["iner"], "a", "b")
    with pytest.raises(UnknownName):
        styles.apply(BOB, ["inner"], "a", "b")
    with pytest.raises(UserError, match="at most 50"):
        styles.apply(ANNA, ["inner"] * 51, "a", "b")


@pytest.mark.parametrize(("own", "expected"), [("", ""), ("a cat", "photo of a cat")])
def test_a_second_pass_with_a_prompt_of_its_own_has_the_styles_too(styles: Styles, own: str, expected: str) -> None:
    styles.put(ANNA, Style(name="photo", prompt="photo of {prompt}", negative="drawing"))
    prompts = {"prompt": "a ball", "negative": "", "hires_prompt": own, "hires_negative": ""}
    found = prompts | styled(prompts, partial(styles.apply, ANNA, ["photo"]))
    assert found == {"prompt": "photo of a ball", "negative": "drawing", "hires_prompt": expected, "hires_negative": ""}


def test_styles_that_multiply_end_before_memory_does(styles: Styles) -> None:
    styles.put(ANNA, Style(name="double", prompt="{prompt}{prompt}"))
    styles.put(ANNA, Style(name="much", prompt="{prompt}" * 2000))
    with pytest.raises(UserError, match="would have 32,768 characters"):
        styles.apply(ANNA, ["double"] * 50, "x", "")
    with pytest.raises(UserError, match="would have 40,000,000 characters"):
        styles.apply(ANNA, ["much"], "x" * 20_000, "")


# --- files


def test_a_file_of_another_program_is_read(styles: Styles) -> None:
    content = '\ufeffname,prompt,negative_prompt\r\nNone,,\r\nPhoto,"photo of {prompt}, ""sharp""\r\nbig",drawing\r\n'.encode()
    styles.put(ANNA, Style(name="None", prompt="old"))
    done = styles.import_csv(ANNA, content)
    assert (done.added, done.replaced, done.left_out) == (("Photo",), ("None",), ())
    assert styles.list(ANNA) == [
        Style(name="None"), Style(name="Photo", prompt='photo of {prompt}, "sharp"\r\nbig', negative="drawing"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"name,prompt,negative_prompt\na,b,c", b"name;prompt;negative_prompt\na;b;c\n",
        b"name\tprompt\tnegative_prompt\na\tb\tc\n",
        b"\n\nName,Prompt,Negative prompt\na,b,c\n", b"prompt,negative_prompt,name\nb,c,a\n", b"name,text,negative\na,b,c\n",
        b"name,notes,prompt,negative_prompt\na,x,b,c\n", b"name,prompt,negative_prompt\ra,b,c\r",
        "name,prompt,negative_prompt\na,b,c\n".encode("utf-16"), b'name,prompt,negative_prompt\na,b,c\n,,\n"","",""\n\n',
        b'"name","prompt","negative_prompt"\n"a","b","c"\n', b"name,prompt,negative_prompt\na,old,\na,b,c\n",
    ],
)  # fmt: skip
def test_forms_of_the_same_file(content: bytes) -> None:
    assert read_csv(content) == ({"a": Style(name="a", prompt="b", negative="c")}, [])


def test_what_is_not_utf_8_is_read_as_windows_wrote_it() -> None:
    found, _ = read_csv("name,prompt,negative_prompt\nschön,größer,é\n".encode("cp1252"))
    assert found == {"schön": Style(name="schön", prompt="größer", negative="é")}


@pytest.mark.parametrize("start", list("=+-@") + ["=cmd|' /C calc'!A0", "@SUM(1)"])
def test_fields_that_a_spreadsheet_would_run_are_data(styles: Styles, start: str) -> None:
    style = Style(name=start, prompt=f"{start}1", negative=start)
    styles.put(ANNA, style)
    assert read_csv(styles.export_csv(ANNA)) == ({start: style}, [])


def test_broken_rows_cost_only_themselves() -> None:
    content = (
        b'name,prompt,negative_prompt\ngood 1,a,b\nbad,"x" y,z\nbad,"never closed,z\ngood 2,c,d\n,nameless,\n'
        b'long,a,b,too many\nempty end,a,b,,\nshort\ngood 3,"e\nf",g\n' + b"n" * 101 + b",a,b\n"
    )
    found, remarks = read_csv(content)
    assert list(found) == ["good 1", "good 2", "empty end", "short", "good 3"] and found["good 3"].prompt == "e\nf"
    assert [remark.partition(":")[0] for remark in remarks] == ["Line 3", "Line 4", "Line 6", "Line 7", "Line 12"]
    assert remarks[2] == "Line 6: A style's name has 1 to 100 characters on one line; '' is none."
    assert remarks[3] == "Line 7: there are 4 fields instead of 3."


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"hello", b"a,b,c\n1,2,3", b"\x89PNG\r\n\x1a\n\0\0", b"<html>", b'"name', b"name\nx"]
)
def test_another_file_is_refused_with_what_was_expected(content: bytes) -> None:
    with pytest.raises(UserError, match="name,prompt,negative_prompt"):
        read_csv(content)


def test_a_file_has_a_size() -> None:
    with pytest.raises(UserError, match="it must have at most"):
        read_csv(b"name,prompt,negative_prompt\n" + b"x" * LARGEST_FILE)
    rows = b"name,prompt,negative_prompt\n" + b"".join(b'"x" %d,a,b\n' % n for n in range(200))
    assert len(read_csv(rows)[1]) == 200


def test_remarks_have_an_end(styles: Styles) -> None:
    done = styles.import_csv(ANNA, b"name,prompt,negative_prompt\n" + b",nameless,\n" * 200)
    assert len(done.left_out) == 51 and done.left_out[-1] == "And 150 more."


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs", "Cf", "Co", "Cn"]), min_size=1, max_size=60)


@settings(max_examples=30)
@given(st.dictionaries(NAMES, st.tuples(TEXTS, TEXTS), max_size=5))
def test_what_is_exported_can_be_imported(made: dict[str, tuple[str, str]]) -> None:
    styles = {name: Style(name=name, prompt=prompt, negative=negative) for name, (prompt, negative) in made.items()}
    assert read_csv(module.as_csv(styles.values())) == (styles, [])


def test_comments_never_swallow_what_comes_behind_them(styles: Styles) -> None:
    styles.put(ANNA, Style(name="one", prompt="{prompt}, oil # thick", negative="# none\nblur"))
    styles.put(ANNA, Style(name="two", prompt="frame"))
    assert styles.apply(ANNA, ["one", "two"], "a cat # mine", "dog#") == ("a cat , oil , frame", "dog, \nblur")
    assert styles.apply(ANNA, [], "a # b", "") == ("a # b", "")

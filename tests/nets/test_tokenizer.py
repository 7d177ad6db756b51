"""CLIP's tokenizer against recorded ids, a naive textbook implementation, ftfy, and its own promises."""

from __future__ import annotations

import html
import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.errors import ModelFileError
from webui.nets.cleaning import clean
from webui.nets.tokenizer import Tokenizer
from webui.weights.vocabulary import clip_merges, clip_tokenizer

RECORDED = json.loads((Path(__file__).parent.parent / "data" / "tokens.json").read_text("utf-8"))
RANKS = {tuple(merge.split(" ")): rank for rank, merge in enumerate(clip_merges())}
WORDS = ["a small red ball", "on a wooden table", "in front of the shiny striped pyramid, (matte:1.2)", "it's"]
ODD = st.text(st.sampled_from("aé'“”&;<>#x1234lts ſﬁ\u0301\u1100\u1161\u11a8İΣσ\ud83d\udc31🐱\x1b[m\x85\u2028"), max_size=30)
ANY = st.one_of(st.text(st.characters(codec=None), max_size=60), ODD)


def naive_pieces(word: str) -> list[str]:
    """Byte-pair merging as in the paper: the earliest listed pair, everywhere, again and again."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    parts = [table[byte] for byte in word.encode()]
    parts[-1] += "</w>"
    while pairs := [pair for pair in itertools.pairwise(parts) if pair in RANKS]:
        best = min(pairs, key=lambda pair: RANKS[pair])
        joined: list[str] = []
        while parts:
            if tuple(parts[:2]) == best:
                joined.append("".join(best))
                del parts[:2]
            else:
                joined.append(parts.pop(0))
        parts = joined
    return parts


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["text"][:20])
def test_ids_are_those_of_openai(entry: dict[str, object]) -> None:
    assert clip_tokenizer().encode(str(entry["text"])) == entry["openai"]


def test_vocabulary_has_clip_size_and_marks() -> None:
    tokenizer = clip_tokenizer()
    assert (tokenizer.size, tokenizer.start, tokenizer.end) == (49408, 49406, 49407)
    assert len(clip_merges()) == 48894


def test_transformers_tokenizer_gives_the_same_ids_for_plain_text() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = clip_tokenizer()
    theirs = transformers.CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokenizer.tokens)},
        merges=[tuple(merge.split(" ")) for merge in clip_merges()],
    )
    text = Path(__file__).read_text("utf-8").split("ODD = ")[0].replace("&", " ")
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)


@settings(max_examples=200, deadline=None)
@given(st.one_of(*(st.text(st.sampled_from(signs), min_size=1, max_size=40) for signs in ("aabcdeinrst!?.é語🐱", "ao", "!?"))))
def test_merging_equals_the_textbook(word: str) -> None:
    assert list(clip_tokenizer().pieces(word)) == naive_pieces(word)


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_text_of_any_kind_has_ids_in_range_and_spans_in_order(text: str) -> None:
    tokenizer = clip_tokenizer()
    tokens = tokenizer.spans(text)
    assert all(0 <= token.id < tokenizer.size for token in tokens)
    assert all(0 <= token.start < token.end <= len(text) for token in tokens)
    assert all(one.start <= two.start and one.end <= two.end for one, two in itertools.pairwise(tokens))
    assert tokenizer.encode(text) == [token.id for token in tokens]
    tokenizer.decode(tokenizer.encode(text))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="&", exclude_categories=("Cc", "Cf", "Co", "Cn")), max_size=40))
def test_spans_cover_everything_but_white_space(text: str) -> None:
    covered = {index for token in clip_tokenizer().spans(text) for index in range(token.start, token.end)}
    missed = [character for index, character in enumerate(text) if index not in covered]
    assert all(character.isspace() or "\ufff0" <= character <= "\uffff" for character in missed)


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_cleaning_equals_ftfy_and_html(text: str) -> None:
    ftfy = pytest.importorskip("ftfy")
    config = ftfy.TextFixerConfig(fix_encoding=False, explain=False)  # guessing encodings is the part left out
    known_text = text.replace("\n", " ")  # ftfy decides about entities line by line
    expected = html.unescape(html.unescape(ftfy.fix_text(known_text, config))).lower()
    if not any(name.isupper() for name in known_text.split("&")[1:]):
        assert clean(known_text).text == expected


def test_a_span_names_the_characters_that_were_typed() -> None:
    text = "“Caf&eacute;” e\u0301"
    assert [text[token.start : token.end] for token in clip_tokenizer().spans(text)] == ["“", "Caf&eacute;", "”", "e\u0301"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["red", "cube", "on the", "a", "it's", ",", "(1.2)", "teal"]), max_size=20).map(" ".join))
def test_decode_undoes_encode(text: str) -> None:
    tokenizer = clip_tokenizer()
    once = tokenizer.decode(tokenizer.encode(text))
    assert once.replace(" ", "") == text.replace(" ", "")
    assert tokenizer.encode(once) == tokenizer.encode(text)


def test_cut_spells_kept_words_as_the_full_tokenizer_and_anything_else_in_bytes() -> None:
    full = clip_tokenizer()
    cut = full.cut(WORDS)
    assert cut.size == 512 + len(cut.merges) + 2 < 700
    for text in WORDS:
        assert [cut.tokens[index] for index in cut.encode(text)] == [full.tokens[index] for index in full.encode(text)]
    for text in ("zebra straße 語", "🐱 ball"):
        assert cut.decode(cut.encode(text)) == text
    assert Tokenizer(cut.merges).encode("a red zebra") == cut.encode("a red zebra")
    assert cut.cut(WORDS).merges == cut.merges


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from("abcdeinorst'1."), min_size=1, max_size=8), min_size=1, max_size=5))
def test_cut_by_any_words_spells_them_alike(words: list[str]) -> None:
    text = " ".join(words)
    full = clip_tokenizer()
    cut = full.cut(words + [text])
    assert [cut.tokens[index] for index in cut.encode(text)] == [full.tokens[index] for index in full.encode(text)]


def test_time_grows_little_more_than_linearly_with_length() -> None:
    begun = time.perf_counter()
    for text in ("!" * 100_000, "qwertzuiop" * 10_000, "é&amp;語“" * 10_000):
        clip_tokenizer().encode(text)
    assert time.perf_counter() - begun < 20  # measured 0.4 s; merging by search takes hours


@pytest.mark.parametrize("merges", [["a"], ["a bc"], ["a</w> b"], ["a b", "a b"]])
def test_bad_merges_are_named(merges: list[str]) -> None:
    with pytest.raises(ModelFileError, match=r"[Mm]erge"):
        Tokenizer(merges)


def test_ids_outside_the_vocabulary_are_refused_by_decode() -> None:
    with pytest.raises(ValueError, match="outside the vocabulary"):
        clip_tokenizer().decode([49408])

"""What the page tells of a prompt while it is written: tokens, their chunks, what may be wrong, what could come next.

Imports no torch: tokens are counted by the model's own tokenizer, which its file's header has, or else CLIP's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

from webui.drawing import NO_EMPHASIS, ORIGINAL_EMPHASIS
from webui.errors import UserError
from webui.nets.tokenizer import Tokenizer
from webui.params import LONGEST_PROMPT
from webui.pipeline.grammar import Cut, Part, Timeline, parse
from webui.pipeline.prompt import Cutting, cut, segments_of
from webui.pipeline.prompt_problems import Problem, problems
from webui.service.catalogue import described
from webui.service.checkpoints import choose, find_networks
from webui.service.requests import Resolver
from webui.service.styles import Styles
from webui.service.users import User
from webui.weights.families import MERGES_KEY
from webui.weights.headers import is_pickle
from webui.weights.plans import tokenizers_of
from webui.weights.vocabulary import clip_tokenizer

TIMELINE = Timeline(steps=20)  # the usual; which texts there are hardly depends on it
MOST_READ = 4 * LONGEST_PROMPT  # characters of texts along the steps; beyond it the first ones tell enough
MOST_WORDS = 100
POSITIONS = 77
FOLDERS = {  # by what they complete, under models/ and those of other programs
    "lora": ("Lora", "loras", "LyCORIS"),
    "embedding": ("embeddings",),
    "hypernet": ("hypernetworks",),
}
Plain = dict[str, Any]


class Prompts:
    """Reads prompts for the page. Safe from any thread."""

    def __init__(self, resolver: Resolver, styles: Styles) -> None:
        self._resolver = resolver
        self._styles = styles
        self._folders = (resolver.models_folder.parent, resolver.models_folder)
        self._tokenizers: dict[str, Tokenizer] = {}

    def look(self, text: str, model: str | None = None, emphasis: str = ORIGINAL_EMPHASIS, *, negative: bool = False) -> Plain:
        """Tokens, how many fit into the chunks they need, where each chunk is in the text, and problems; spans in code points.

        Of a text that changes along the steps the longest counts.
        """
        if len(text) > LONGEST_PROMPT:
            raise UserError(f"The prompt has {len(text):,} characters; it must have at most {LONGEST_PROMPT:,}.")
        tokenizer, room = self._reader(model)
        prompt = parse(text, negative=negative)
        found = [longest(part, emphasis, tokenizer, room) for part in prompt.parts]
        chunks = sorted(chain.from_iterable(ranges(cutting, at) for cutting, at in found))
        extensions = self._resolver.extensions
        own = problems(prompt, negative=negative, known_tags=frozenset(extensions.tags)) if emphasis != NO_EMPHASIS else []
        told = [*own, *(Problem(*each) for each in extensions.prompt_problems(text, self._folders))]
        return {
            "tokens": max(cutting.tokens for cutting, _ in found),
            "of": max(len(cutting.windows) for cutting, _ in found) * room,
            "chunks": [list(chunk) for chunk in chunks],
            "problems": [each._asdict() for each in sorted(told)],
        }

    def words(self, user: User, kind: str = "", start: str = "") -> list[Plain]:
        """Words of a kind, or of any, that complete a beginning: those that begin so first, then those that hold it."""
        wanted = start.casefold()
        found: list[tuple[bool, str, str]] = []
        for own, name in self._known(user, kind):
            folded = name.casefold()
            if wanted in folded:
                found.append((not folded.startswith(wanted), own, name))
        found.sort(key=lambda each: (each[0], each[2].casefold(), each[1]))
        return [{"name": name, "kind": own} for _, own, name in found[:MOST_WORDS]]

    def _known(self, user: User, kind: str) -> Iterator[tuple[str, str]]:
        """Every word of a kind, once."""
        seen = set()
        models, others = self._resolver.models_folder, self._resolver.others
        for own, folders in FOLDERS.items():
            if kind in ("", own):
                seen |= {(own, each.name) for each in find_networks(models, others, folders, {})}
        if kind in ("", "style"):
            seen |= {("style", style.name) for style in self._styles.list(user)}
        for own, names in self._resolver.extensions.prompt_words(self._folders).items():
            if kind in ("", own):
                seen |= {(own, name) for name in names}
        yield from seen

    def _reader(self, model: str | None) -> tuple[Tokenizer, int]:
        """The tokenizer of a model and how many tokens a chunk of it has; CLIP's where nothing is known of the model."""
        try:
            checkpoint = choose(self._resolver.checkpoints(), model or None, None, self._resolver.known_hash)
            if "torch" in sys.modules or not is_pickle(checkpoint.path):
                found = described(checkpoint)
                merges = found.header.metadata.get(MERGES_KEY, "")
                if merges not in self._tokenizers:
                    self._tokenizers = {merges: tokenizers_of(found.spec, found.header)[0]}
                return self._tokenizers[merges], found.spec.text[0].positions - 2
        except (UserError, OSError):
            pass  # its own place on the page tells what is wrong with the model
        return clip_tokenizer(), POSITIONS - 2


def longest(part: Part, emphasis: str, tokenizer: Tokenizer, room: int) -> tuple[Cutting, Cut]:
    """The chunks of a part's text at the step that has most tokens."""
    best: tuple[Cutting, Cut] | None = None
    seen: set[str] = set()
    for step in part.ends(TIMELINE):
        at = part.at(step, TIMELINE)
        if best is not None and (at.text in seen or sum(map(len, seen)) > MOST_READ):
            continue
        seen.add(at.text)
        cutting = cut(segments_of(at.text, emphasis), tokenizer, room)
        if best is None or cutting.tokens > best[0].tokens:
            best = cutting, at
    assert best is not None
    return best


def ranges(cutting: Cutting, at: Cut) -> Iterator[tuple[int, int]]:
    """Where in the source each chunk that holds anything begins and ends."""
    for window in cutting.windows:
        spans = [at.span(*piece.span) for piece in window]
        if spans:
            yield min(start for start, _ in spans), max(end for _, end in spans)

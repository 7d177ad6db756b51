"""The page as it is served now: laid out anew when other extensions are loaded, for whoever asks for it next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from webui.service.extensions import Extensions

CHANGES = ("components", "dependencies", "layout", "page")  # of what Gradio says of a page; the rest is set when it is mounted


class Blocks(Protocol):
    """A page of Gradio's; whoever asks for the page is sent `config`."""

    config: Any

    def get_config_file(self) -> Any:
        """What Gradio's code in the browser is told of the page."""
        ...


class Served:
    """Holds the head and what Gradio sends. Safe from any thread.

    `now` are the extensions that are loaded, `head` makes the page's head and its marks with them, `again` lays the page out.
    No handler of the page runs on the server, so pages that are open go on as they are, whatever is sent to others.
    """

    def __init__(
        self, *, now: Callable[[], Extensions], head: Callable[[Extensions], tuple[str, str]], page: Blocks,
        again: Callable[[Extensions], Blocks],
    ) -> None:  # fmt: skip
        self._now = now
        self._make_head = head
        self._page = page
        self._again = again
        self._turn = threading.Lock()
        self._with = now()
        self._head, self._marks = head(self._with)

    @property
    def stale(self) -> bool:
        """Whether other extensions are loaded than the page was made with."""
        return self._with is not self._now()

    @property
    def head(self) -> str:
        """What is put into the page's head."""
        return self._head

    def mark(self) -> str:
        """The marks of the page as it is served now; pages that have others are older or newer."""
        return self._marks

    def renew(self) -> None:
        """Lay the page out anew, where that is needed."""
        with self._turn:
            extensions = self._now()
            if extensions is self._with:
                return
            head, marks = self._make_head(extensions)
            if marks.split(".")[0] != self._marks.split(".")[0]:
                made = self._again(extensions).get_config_file()
                self._page.config = {**self._page.config, **{key: made[key] for key in CHANGES}}
            self._head, self._marks, self._with = head, marks, extensions

"""The tunnel, with a made-up program that works, dies, is silent or talks nonsense: nobody waits, and a sentence says why."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from webui.errors import UserError
from webui.service.tunnel import ENDED, FAILED, LONGEST_LINE, OFF, OPEN, STARTING, Tunnel, TunnelState

SAYS = "import sys, time; print('[I] start proxy success: https://Abc123.gradio.live', flush=True); "
WORKS = SAYS + "sys.stdin.read(); time.sleep(600)"
DIES = "import sys; print('no route to server', flush=True); sys.exit(3)"
SILENT = "import time; time.sleep(600)"
NONSENSE = "import sys\nwhile True: sys.stdout.buffer.write(bytes(range(256)) * 64)"
LIES = "import time; print('start proxy success: javascript:alert(1)', flush=True); time.sleep(600)"
REFUSED = "import time; print('login to server failed: token is wrong', flush=True); time.sleep(600)"
OPENS_AND_DIES = SAYS + "print('connection reset', flush=True)"
SOON = 30.0  # seconds: far more than any of this takes, even on a machine that is busy with other things

Make = Callable[..., "Watched"]


class Watched:
    """A tunnel with every state it told."""

    def __init__(self, prepare: Callable[[int], Sequence[str]], patience: float) -> None:
        self.told: list[TunnelState] = []
        self.changed = threading.Condition()
        self.tunnel = Tunnel(prepare, tell=self.tell, patience=patience)

    def tell(self, state: TunnelState) -> None:
        with self.changed:
            self.told.append(state)
            self.changed.notify_all()

    def wait(self, kind: str) -> TunnelState:
        with self.changed:
            assert self.changed.wait_for(lambda: any(state.kind == kind for state in self.told), SOON), self.told
            return next(state for state in self.told if state.kind == kind)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes tunnels that run a piece of Python."""
    made: list[Watched] = []

    def call(program: str, patience: float = SOON) -> Watched:
        made.append(Watched(lambda port: [sys.executable, "-c", program, str(port)], patience))
        return made[-1]

    yield call
    for each in made:
        each.tunnel.end()
    deadline = time.monotonic() + SOON
    while any(thread.name.startswith("tunnel") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread of a tunnel goes on"
        time.sleep(0.01)


def test_a_tunnel_that_works_has_an_address_until_it_is_ended(make: Make) -> None:
    watched = make(WORKS)
    assert watched.tunnel.state().kind == OFF and watched.tunnel.host() is None
    watched.tunnel.start(7860)
    assert watched.wait(OPEN).address == "https://abc123.gradio.live"
    assert watched.tunnel.host() == "abc123.gradio.live"
    watched.tunnel.end()
    assert watched.tunnel.host() is None and watched.tunnel.state().kind == ENDED
    assert "does not work any more" in watched.tunnel.state().sentence
    watched.tunnel.start(7860)
    assert watched.tunnel.state().kind == ENDED, "what was ended stays so"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (DIES, "ended without an address (no route to server)"),
        (REFUSED, "refused (login to server failed: token is wrong)"),
        ("print('[I] hello \\x1b[31m<b>')", "(\\[I\\] hello \\[31m<b>)".replace("\\", "")),
    ],
)
def test_a_program_that_fails_ends_in_a_sentence(make: Make, program: str, words: str) -> None:
    watched = make(program)
    watched.tunnel.start(7860)
    sentence = watched.wait(FAILED).sentence
    assert words in sentence and "works on this machine as before" in sentence and watched.tunnel.host() is None


@pytest.mark.parametrize("program", [SILENT, NONSENSE, LIES], ids=["silent", "nonsense", "no address"])
def test_a_program_without_an_address_gets_no_longer_than_patience(make: Make, program: str) -> None:
    watched = make(program, patience=0.2)
    began = time.monotonic()
    watched.tunnel.start(7860)
    assert time.monotonic() - began < 1 and watched.tunnel.state().kind == STARTING, "nobody waits for the program"
    assert "said no address within" in watched.wait(FAILED).sentence


def test_a_tunnel_that_dies_later_is_closed(make: Make) -> None:
    watched = make(OPENS_AND_DIES)
    watched.tunnel.start(7860)
    assert "does not work any more" in watched.wait(FAILED).sentence
    assert [state.kind for state in watched.told] == [OPEN, FAILED] and watched.tunnel.host() is None


def test_ending_while_it_starts_leaves_no_program(make: Make) -> None:
    watched = make(SILENT)
    watched.tunnel.start(7860)
    watched.tunnel.end()
    assert watched.tunnel.state().kind == ENDED and watched.told == []


def test_without_a_program_there_is_a_sentence(make: Make) -> None:
    def offline(port: int) -> Sequence[str]:
        raise UserError("The internet cannot be reached.")

    for prepare, words in ((offline, "The internet cannot be reached."), (lambda port: ["no-such-program"], "did not start")):
        watched = Watched(prepare, SOON)
        watched.tunnel.start(7860)
        assert words in watched.wait(FAILED).sentence
        watched.tunnel.end()
        assert watched.tunnel.state().kind == FAILED, "why it failed is still said"


def test_the_program_gets_the_port(make: Make) -> None:
    watched = make("import sys; print(f'start proxy success: https://port-{sys.argv[1]}.example', flush=True); sys.stdin.read()")
    watched.tunnel.start(7861)
    assert watched.wait(OPEN).address == "https://port-7861.example"


def test_a_line_that_never_ends_takes_no_memory(make: Make) -> None:
    watched = make(f"import sys\nfor _ in range(2000): sys.stdout.write('x' * {LONGEST_LINE})\nsys.exit(1)")
    watched.tunnel.start(7860)
    assert len(watched.wait(FAILED).sentence) < 400

"""Extensions that do harm, by mistake or on purpose: each is refused or contained, and named; others' pictures stay."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny_checkpoint
from tests.service.extensions_written import SWITCH, known, shelf_of, write
from tests.service.making import until
from webui.engine import events
from webui.errors import ExtensionError, UserError
from webui.extension import PromptContext
from webui.request import Request
from webui.service.engines import AGAIN, ThreadEngine
from webui.service.extension_records import ENDED, FAILED, LOADED
from webui.service.extension_shelf import Shelf, open_shelf
from webui.service.extension_watch import Limits

WAIT = 60.0  # seconds; nothing takes so long but a machine that is very busy
IMPORTS = {  # what it does when it is imported, what is said, and seconds that it has
    "raises": ("raise RuntimeError('no luck')\n", "The extension raises cannot be loaded: RuntimeError: no luck", 30.0),
    "sleeps": ("import time\ntime.sleep(3600)\n", "The extension sleeps was not imported within 1.5 seconds", 1.5),
    "leaves": ("import os\nos._exit(3)\n", "The extension leaves ended the process that imported it (exit code 3)", 30.0),
    "exits": ("import sys\nsys.exit('bye')\n", "The extension exits cannot be loaded: SystemExit: bye", 30.0),
    "misspells": ("@hook\ndef transform_promt(text):\n    return text\n", "transform_promt", 30.0),
    "wants_more": ("@hook\ndef transform_prompt(text, everything):\n    return text\n", "everything", 30.0),
    "heavy": ("import sys\nsys.modules.setdefault('torch', sys)\n", "The extension heavy imports torch when it is loaded", 30.0),
    "adds_a_three": ("@hook\ndef samplers():\n    return [3]\n", "must return a list of SamplerInfo", 30.0),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_new_code_is_imported_in_another_process_first(tmp_path: Path, name: str) -> None:
    code, said, seconds = IMPORTS[name]
    write(tmp_path, name, code)
    shelf = Shelf(tmp_path, limits=Limits(trial=seconds))
    shelf.open()
    record = shelf.record(name)
    assert record.state == FAILED and said in record.problem, record.problem
    assert name not in shelf.now.versions and "samplers" in shelf.now.versions
    assert not [module for module in sys.modules if module.startswith(f"webui_extensions_{name}")], "it never ran here"
    assert ("Traceback" in record.trace) == (name in ("raises", "exits", "misspells", "wants_more", "heavy", "adds_a_three"))
    shelf.close()


def test_code_that_got_through_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"import pathlib\nwith pathlib.Path({str(count)!r}).open('a') as file:\n    file.write('x')\n"
    write(tmp_path, "mine", code)
    open_shelf(tmp_path).close()
    assert count.read_text() == "xx", "once in another process, once here"
    open_shelf(tmp_path).close()
    assert count.read_text() == "xxx"
    write(tmp_path, "mine", code + "# changed\n")
    open_shelf(tmp_path).close()
    assert count.read_text() == "xxxxx"


STAYS = """
import threading
GO_ON = threading.Event()

@hook
def transform_prompt(text):
    GO_ON.wait()
    return text + "!"

@hook
def prompt_words(folders):
    return {"mine": ["word"]}
"""


def test_a_hook_that_the_page_waits_for_is_given_up_and_named(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, write(tmp_path, "stays", STAYS), seconds=0.2)
    context = PromptContext(seed=1)
    with pytest.raises(ExtensionError, match=r"The extension stays took more than 0.2 seconds in transform_prompt"):
        shelf.now.transform_prompt("x", context)
    with pytest.raises(ExtensionError, match="The extension stays is still busy in transform_prompt"):
        shelf.now.transform_prompt("x", context)
    assert shelf.now.prompt_words(())["mine"] == ["word"], "its other hooks are heard"
    assert "took more than 0.2 seconds" in shelf.record("stays").problem and shelf.record("stays").state == LOADED
    sys.modules[shelf.now.packages["stays"]].GO_ON.set()
    until(lambda: not shelf.watch.at_work())
    assert shelf.now.transform_prompt("x", context) == "x!"
    shelf.close()


def test_who_fails_while_the_page_asks_several_is_left_out_of_the_answer(tmp_path: Path) -> None:
    fails = "@hook\ndef prompt_words(folders):\n    raise KeyError('x')\n@hook\ndef metadata(values):\n    return 7\n"
    shelf = shelf_of(tmp_path, write(tmp_path, "fails", fails), write(tmp_path, "works", STAYS))
    assert shelf.now.prompt_words(())["mine"] == ["word"]
    assert "KeyError" in shelf.record("fails").problem and "prompt_words" in shelf.record("fails").trace
    with pytest.raises(ExtensionError, match="The extension fails returned '7' in metadata, where Mapping is wanted"):
        shelf.now.metadata("fails", Request.from_dict(plain()), {}, {})
    shelf.close()


ENDS = """
import os

@hook
def transform_prompt(text):
    os._exit(7)
"""
RUNS = """
import sys
from pathlib import Path
from webui.extension import PromptContext
from webui.service.extension_shelf import open_shelf

shelf = open_shelf(Path(sys.argv[1]), marked=True)
print(shelf.record("ends").state, shelf.record("ends").problem, flush=True)
if shelf.record("ends").state == "loaded":
    shelf.now.transform_prompt("x", PromptContext(seed=1))
shelf.close()
"""


def test_who_takes_the_program_down_is_not_loaded_at_the_next_start_and_named(tmp_path: Path) -> None:
    place = write(tmp_path, "ends", ENDS)
    known(Shelf(tmp_path), place)

    def start() -> tuple[int, str]:
        command = [sys.executable, "-c", RUNS, str(tmp_path)]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert start() == (7, "loaded \n")
    for _ in range(2):  # nor at those after it
        code, said = start()
        assert code == 0 and said.startswith(f"{ENDED} The program ended without a word while the extension ends was at work in")
        assert "transform_prompt" in said
    shelf = open_shelf(tmp_path)
    assert "ends" not in shelf.now.versions and "samplers" in shelf.now.versions
    shelf.load("ends")  # which is what enabling does
    assert shelf.record("ends").state == LOADED
    shelf.close()
    assert start() == (7, "loaded \n")
    write(tmp_path, "ends", "# better\n")
    assert start() == (0, "loaded \n"), "other code has a chance again"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint.write(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def root(tmp_path: Path, model: Path) -> Path:
    (tmp_path / "models" / "builtin").mkdir(parents=True)
    (tmp_path / "models" / "builtin" / "model.safetensors").symlink_to(model)
    return tmp_path


def plain(*extensions: str, **more: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"model": "builtin", "prompt": "ab", "steps": 4, "sampler": "Euler", "schedule": "Karras"}
    common |= {"scale": 2.0, "seed": 5, "width": 64, "height": 64, "reproducible": True}
    common["extensions"] = {name: {"values": {"on": True}, "noted": {}} for name in extensions}
    return Request(**common | more).to_dict()


class Jobs:
    """An engine with a shelf, and what it told."""

    def __init__(self, root: Path, shelf: Shelf) -> None:
        self.shelf = shelf
        self.engine = ThreadEngine(root, exact=True, shelf=shelf)
        self.told: dict[str, list[events.Event]] = {}
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.engine.close()

    def submit(self, key: str, request: dict[str, Any]) -> None:
        self.told[key] = []
        self.engine.submit(key, request)

    def hear(self, *, past: bool = False) -> bool:
        """Take in one event; with `past` look whether a hook is past its limit. Whether all have ended."""
        if past:
            self.shelf.watch.look()
        entry = self.engine.next(0.05)
        if entry is not None:
            self.told[entry[0]].append(entry[1])
        return all(told and isinstance(told[-1], events.LAST) for told in self.told.values())

    def end(self, *, past: bool = False) -> None:
        until(lambda: self.hear(past=past))

    def pixels(self, key: str) -> Any:
        found = [event.pixels for event in self.told[key] if isinstance(event, events.Picture)]
        assert len(found) == 1 and isinstance(self.told[key][-1], events.Finished), self.told[key]
        return found[0]

    def failed(self, key: str) -> str:
        last = self.told[key][-1]
        assert isinstance(last, events.Failed), self.told[key]
        return last.sentence


@pytest.fixture
def jobs(root: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    place = write(root, "bad", SWITCH + textwrap.dedent(request.param))
    shelf = shelf_of(root, place, seconds=0.5)
    made = Jobs(root, shelf)
    yield made
    waits = getattr(sys.modules.get(shelf.now.packages.get("bad", "")), "GO_ON", None)
    if waits is not None:
        waits.set()
        until(lambda: not shelf.watch.at_work())
    made.close()
    shelf.close()


GO_ON = "import threading\nGO_ON = threading.Event()\n"
STUCK = {
    "patches": """
        @hook
        def patches(job):
            GO_ON.wait()
    """,
    "denoiser": """
        @hook
        def denoiser(job, denoise):
            def around(x, at):
                if at.step == 2:
                    GO_ON.wait()
                return (yield from denoise(x, at))
            return around
    """,
    "output": """
        class Waits:
            def output(self, call, x):
                GO_ON.wait()
                return x

        @hook
        def patches(job):
            return Patches(attention=(Waits(),))
    """,
}


@pytest.mark.parametrize(
    ("jobs", "where"), [(GO_ON + textwrap.dedent(code), name) for name, code in STUCK.items()], indirect=["jobs"], ids=STUCK
)
def test_a_hook_that_never_comes_back_costs_its_own_job_only(jobs: Jobs, where: str) -> None:
    jobs.submit("alone", plain(seed=9))
    jobs.end()
    jobs.submit("mine", plain("bad"))
    jobs.submit("theirs", plain(seed=9, steps=4))
    jobs.end(past=True)
    assert f"The extension bad was still busy in {where} after 0.5 seconds, so this job was ended" in jobs.failed("mine")
    assert np.array_equal(jobs.pixels("theirs"), jobs.pixels("alone")), "the other's picture is what it is alone"
    assert AGAIN in [event.sentence for event in jobs.told["theirs"] if isinstance(event, events.Notice)] or where == "patches"
    record = jobs.shelf.record("bad")
    assert f"still busy in {where}" in record.problem and "GO_ON.wait" in record.trace
    jobs.submit("after", plain(seed=9))
    jobs.end()
    assert np.array_equal(jobs.pixels("after"), jobs.pixels("alone"))
    assert jobs.shelf.record("bad").jobs == 0, "nothing holds it any more"


@pytest.mark.parametrize("jobs", [GO_ON + textwrap.dedent(STUCK["denoiser"])], indirect=True, ids=["denoiser"])
def test_pictures_that_were_finished_are_not_told_twice(jobs: Jobs) -> None:
    jobs.submit("theirs", plain(seed=9, count=20, steps=3))
    until(lambda: jobs.hear() or any(isinstance(event, events.Picture) for event in jobs.told["theirs"]))
    jobs.submit("mine", plain("bad"))
    jobs.end(past=True)
    assert AGAIN in [event.sentence for event in jobs.told["theirs"] if isinstance(event, events.Notice)]
    told = [event.picture for event in jobs.told["theirs"] if isinstance(event, events.Picture)]
    assert sorted(told) == list(range(20)) and isinstance(jobs.told["theirs"][-1], events.Finished)
    assert not [event for event in jobs.told["theirs"] if isinstance(event, events.Skipped)]


RAISES = """
    @hook
    def patches(job):
        if job.values["on"]:
            raise ValueError("out of luck")
"""
FINISHES = """
    @hook
    def finish(job, picture):
        other = yield from job.encode(job.request.prompt)
        other.tokens.zero_()
        picture.pixels.zero_()
        return picture
"""
WRITES = """
    @hook
    def patches(job):
        job.values["on"] = 7
        job.request.extensions["bad"]["values"]["on"] = 7
        return Patches(attention=(Context(),))

    class Context:
        def context(self, call, ctx):
            ctx.zero_()
            return ctx, ctx

    @hook
    def rows(job):
        def change(row):
            row.conditioning.tokens.zero_()
            return row
            yield
        return change
"""
WRITES_WEIGHTS = """
    @hook
    def patches(job):
        return Patches(weights=tuple(map(weight, job.weights())))

    def weight(key):
        from webui.extension import WeightPatch
        return WeightPatch(key, change, "bad")

    def change(original):
        original.zero_()
        return original
"""


@pytest.mark.parametrize("jobs", [RAISES], indirect=True, ids=["raises"])
def test_what_a_hook_raises_fails_its_job_under_its_name(jobs: Jobs) -> None:
    jobs.submit("mine", plain("bad"))
    jobs.submit("theirs", plain(seed=9))
    jobs.end()
    assert jobs.failed("mine") == """The extension bad failed in patches: 'ValueError: out of luck'."""
    record = jobs.shelf.record("bad")
    assert "out of luck" in record.problem and "def patches" not in record.problem and "raise ValueError" in record.trace
    jobs.submit("alone", plain(seed=9))
    jobs.end()
    assert np.array_equal(jobs.pixels("theirs"), jobs.pixels("alone"))


@pytest.mark.parametrize("jobs", [WRITES + FINISHES, WRITES_WEIGHTS + FINISHES], indirect=True, ids=["texts", "weights"])
def test_what_a_hook_writes_into_what_it_is_given_changes_nothing_for_others(jobs: Jobs, root: Path) -> None:
    jobs.submit("mine", plain("bad"))
    until(lambda: jobs.hear() or any(isinstance(event, events.Progress) for event in jobs.told["mine"]))
    jobs.submit("theirs", plain())  # of the same text by the same model: all that could be shared is
    jobs.end()
    jobs.submit("after", plain())
    jobs.end()
    other = Jobs(root, jobs.shelf)
    other.submit("alone", plain())
    other.end()
    other.close()
    assert not jobs.pixels("mine").any() and other.pixels("alone").any(), "it did all that it meant to do"
    for key in ("theirs", "after"):
        assert np.array_equal(jobs.pixels(key), other.pixels("alone")), key


def test_a_job_that_waits_for_one_that_is_gone_says_so(root: Path) -> None:
    shelf = shelf_of(root, write(root, "bad", SWITCH))
    jobs = Jobs(root, shelf)
    shelf.unload("bad")
    jobs.submit("mine", plain("bad"))
    jobs.end()
    assert "The extension bad, which takes part in this job, is not loaded" in jobs.failed("mine")
    jobs.engine.close()
    shelf.close()


def test_unloading_cancels_the_jobs_of_who_takes_part_and_no_other(root: Path) -> None:
    place = write(root, "bad", SWITCH + textwrap.dedent(RAISES.replace('job.values["on"]', "False")))
    shelf = shelf_of(root, place)
    jobs = Jobs(root, shelf)
    jobs.submit("mine", plain("bad", steps=150, count=20))
    jobs.submit("theirs", plain(steps=3))
    until(lambda: jobs.hear() or shelf.record("bad").jobs == 1)
    shelf.unload("bad", cancel=True)
    jobs.end()
    assert isinstance(jobs.told["mine"][-1], events.Cancelled)
    assert jobs.pixels("theirs").any()
    jobs.engine.close()
    shelf.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('javascript = ["../../launch.py"]\n', "names the file '../../launch.py', which is not one in its folder"),
        ('css = ["/etc/passwd"]\n', "not one in its folder"),
        ('permissions = ["everything"]\n', "asks for the permission 'everything'; there are network, files, routes, javascript"),
        ('order = "first"\n', "it must be a whole number"),
        ("requires = 3\n", "a table with packages and extensions"),
        (f"authors = {'[' * 5000}{']' * 5000}\n", "cannot be read"),
    ],
)
def test_manifests_that_reach_too_far_are_refused(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, "far", "raise RuntimeError('never read')\n", manifest=line)
    shelf = open_shelf(tmp_path)
    assert shelf.record("far").state == FAILED and said in shelf.record("far").problem
    with pytest.raises((UserError, ExtensionError), match="far"):
        shelf.load("far")
    shelf.close()


@pytest.mark.parametrize("jobs", [GO_ON + textwrap.dedent(STUCK["denoiser"])], indirect=True, ids=["denoiser"])
def test_what_was_wished_before_an_engine_is_left_behind_holds_after_it(jobs: Jobs) -> None:
    for key in ("mine", "cancelled", "interrupted"):
        jobs.submit(key, plain(*(("bad",) if key == "mine" else ()), steps=20, count=1 if key == "mine" else 40))
    until(lambda: jobs.hear() or any(each.hook == "denoiser" and each.limit for each in jobs.shelf.watch.at_work()))
    until(lambda: any(jobs.shelf.watch.left(each, each.limit) < 0.4 for each in jobs.shelf.watch.at_work()))
    jobs.engine.cancel("cancelled")
    jobs.engine.interrupt("interrupted")
    jobs.end(past=True)
    assert "still busy in denoiser" in jobs.failed("mine")
    assert isinstance(jobs.told["cancelled"][-1], events.Cancelled)
    assert isinstance(jobs.told["interrupted"][-1], events.Interrupted)


@pytest.mark.parametrize("jobs", [GO_ON + textwrap.dedent(STUCK["patches"])], indirect=True, ids=["patches"])
def test_an_engine_that_is_held_up_keeps_nobody_from_ending_the_program(jobs: Jobs) -> None:
    jobs.submit("mine", plain("bad"))
    until(lambda: jobs.hear() or bool(jobs.shelf.watch.at_work()))
    jobs.shelf.watch.start()  # as the program does
    jobs.engine.close()
    jobs.closed = True
    assert jobs.engine.next() is None and jobs.shelf.watch.at_work(), "the hook is still there"

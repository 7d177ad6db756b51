"""What extensions do in jobs, by the real engine on a tiny model: who is asked what, in which order, and that nothing stays."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.making import MODEL, TINY, last, pictures, request, run, stepped, tiny_model, told
from tests.in_memory import InMemory
from webui.engine import events
from webui.engine.batching import call_of
from webui.engine.engine import Engine
from webui.engine.local import LocalNetworks
from webui.errors import ExtensionError, Stopped, UserError
from webui.nets.hooks import Call as Site
from webui.pipeline.extended import Guided, Job, JobHooks
from webui.pipeline.extended_line import MOST_NESTED, Reach
from webui.pipeline.generate import Registry, generate
from webui.pipeline.given import Given
from webui.pipeline.guidance import PLAIN, distilled, guided, plain_row
from webui.pipeline.patches import Patches, TokenVectors, WeightPatch
from webui.pipeline.picture import Picture
from webui.pipeline.protocol import Call, Conditioning, Encode, Moment, Read, Row, Rows, answer_all
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.texts import Part, Texts, constant
from webui.request import Request

KEY = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
TOWER = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
HIRES = {
    "upscaler": "Latent", "upscaler_hash": "", "width": 32, "height": 32, "steps": 3, "strength": 0.7, "sampler": "Euler",
    "schedule": "Karras", "sampler_options": {}, "scale": 3.0, "model": "", "prompt": "", "negative": "", "full_width": 32,
    "full_height": 32, "scale_by": 2.0,
}  # fmt: skip
Asks = Generator[Any, Any, Any]


SOURCE = InMemory(tiny_model())


def networks() -> LocalNetworks:
    """The tiny model's networks, read once."""
    return LocalNetworks(lambda _: SOURCE)


def asked(*names: str, **changes: Any) -> Request:
    """A request in which some extensions take part."""
    return request(**{"extensions": {name: {"values": {}, "noted": {}} for name in names}, **changes})


def drawn(
    wanted: Sequence[Request], hooks: Sequence[JobHooks], *, reach: Reach | None = None, **more: Any
) -> list[np.ndarray]:
    """The pictures of jobs that run at once, each with one."""
    engine = stepped(start_of(hooks, reach, **more), networks())
    jobs = [engine.submit(each) for each in wanted]
    run(engine)
    for job in jobs:
        assert isinstance(last(engine, job), events.Finished), last(engine, job)
    return [pictures(engine, job)[0].pixels for job in jobs]


def start_of(hooks: Sequence[JobHooks], reach: Reach | None = None, **more: Any) -> Callable[[Request], list[Asks]]:
    registry = Registry(hooks=hooks)
    return lambda wanted: [
        generate(wanted.picture(index), MODEL, registry, reach=reach or Reach(), **more) for index in range(wanted.count)
    ]


def heard_live(engine: Engine, job: str) -> list[events.Event]:
    """All events of a job, each before another one could make it pointless."""
    heard: list[events.Event] = []
    with engine.events(job) as stream:
        while not heard or not isinstance(heard[-1], events.LAST):
            event = stream.next(timeout=0)
            if event is None:
                assert engine.step()
            else:
                heard.append(event)
    return heard


def same(one: np.ndarray, other: np.ndarray, levels: int = 0) -> bool:
    return one.shape == other.shape and int(np.abs(one.astype(int) - other.astype(int)).max()) <= levels


def stronger(content: str, factor: float) -> Patches:
    return Patches(weights=(WeightPatch(KEY, lambda weight: factor * weight.flip(0), content),))


# --- who takes part -------------------------------------------------------------------------------------------------


def everything(log: list[str], name: str = "a") -> JobHooks:
    """An extension with all hooks, each of which says when it is asked and changes nothing."""

    def said(what: str, answer: Any = None) -> Any:
        log.append(f"{name} {what}")
        return answer

    def change(row: Row) -> Asks:
        log.append(f"{name} row")
        yield from ()
        return row

    def guide(given: Guided) -> Asks:
        log.append(f"{name} guides")
        yield from ()
        return given.denoised

    def around(denoise: Any) -> Any:
        def wrapped(x: Tensor, at: Moment) -> Asks:
            log.append(f"{name} denoises")
            return (yield from denoise(x, at))

        return wrapped

    def finish(job: Job, picture: Picture) -> Asks:
        log.append(f"{name} finishes")
        yield from ()
        return picture

    return JobHooks(
        name=name, patches=lambda job: said("patches"), rows=lambda job: said("rows", change), finish=finish,
        guide=lambda job: said("guide", guide), denoiser=lambda job, denoise: said("denoiser", around(denoise)),
    )  # fmt: skip


def test_who_is_not_in_the_request_is_never_asked_and_the_asks_are_the_same() -> None:
    log: list[str] = []
    hooks = [everything(log, "a"), everything(log, "b")]

    def asks(registry: Registry) -> list[str]:
        kinds: list[str] = []
        own = networks()

        def answer(ask: Any) -> Any:
            kinds.append(type(ask).__name__)
            if isinstance(ask, Rows):
                return own.predict(call_of(ask.rows)).rows
            return own.encode(ask) if isinstance(ask, Encode) else own.decode(ask)

        answer_all(generate(asked("c"), MODEL, registry), answer)
        return kinds

    found = [asks(registry) for registry in (Registry(), Registry(hooks=hooks))]
    assert found[0] == found[1] and "Rows" in found[0]
    assert not log
    plain, with_others, by_itself = (drawn([asked(*names)], hooks)[0] for names in ((), ("c",), ("a", "b")))
    assert same(plain, with_others) and same(plain, by_itself)  # what asks for nothing changes nothing either
    assert log


def test_they_follow_each_other_in_the_order_of_the_registry() -> None:
    log: list[str] = []
    drawn([asked("b", "a", steps=1)], [everything(log, name) for name in ("a", "b", "c")])
    assert log == [
        "a patches", "b patches", "a guide", "b guide", "a denoiser", "b denoiser", "a rows", "b rows",
        "b denoises", "a denoises",  # the later one wraps the one before
        "a row", "b row", "a row", "b row", "a guides", "b guides", "a finishes", "b finishes",
    ]  # fmt: skip


def test_a_job_tells_all_that_there_is_to_know_and_each_hook_has_its_own() -> None:
    seen: list[Job] = []

    def patches(job: Job) -> None:
        seen.append(job)
        if job.noted:  # the first one writes to what it is told, which reaches nobody
            job.values["strength"] = 7.0
            job.request.extensions["a"]["values"]["strength"] = 7.0

    noted = {"tags": {"lora:x:1": {"sha256": "1"}, "lora:y": {}, "lora:second": {}}}
    wanted = asked(prompt="a <lora:y> b <lora:x:1> <lora:z>", hires={**HIRES, "prompt": "c <lora:second>"}, extensions={
        "a": {"values": {"picture": "ab" * 32, "strength": 1.0}, "noted": noted}, "b": {"values": {}, "noted": {}},
    })  # fmt: skip
    hooks = [JobHooks(name=name, patches=patches, defaults={"strength": 0.5, "kind": "none"}) for name in ("a", "b")]
    shown = torch.zeros(4, 5, 6, dtype=torch.uint8)
    reach = Reach(
        picture=lambda digest: shown + int(digest[:2], 16), weights=lambda network: {network: (1, 2)},
        network=lambda name: f"found {name}", detectors={"faces": lambda job, picture: iter(())},  # type: ignore[dict-item]
    )
    drawn([wanted], hooks, reach=reach, upscaler="Latent")
    first, other, second, _ = seen
    assert (first.second, second.second) == (False, True)
    assert first.tags == ("lora:y", "lora:x:1") and second.tags == ("lora:second",) and other.tags == ()
    assert (first.request.width, second.request.width, first.request.count) == (16, 32, 1)
    assert first.spec == TINY and first.network == "tiny" and first.device == "cpu"
    assert list(first.pictures) == ["picture"] and torch.equal(first.pictures["picture"], shown + 0xAB)
    assert first.weights() == {"tiny": (1, 2)} and first.network_of("n:1") == "found n:1" and list(first.detectors) == ["faces"]
    assert first.values == {"picture": "ab" * 32, "strength": 7.0, "kind": "none"}
    assert other.values == {"strength": 0.5, "kind": "none"} and other.request.extensions["a"]["values"]["strength"] == 1.0
    assert second.request.extensions["a"]["values"]["strength"] == 7.0  # by the hook itself, in this pass
    assert wanted.extensions["a"]["values"]["strength"] == 1.0


# --- patches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patches", [
    stronger("p", 1.0), Patches(weights=(WeightPatch(TOWER, lambda weight: -weight, "t"),)),
    Patches(tokens=(TokenVectors(name="ball", content="v", vectors=(torch.full((2, 16), 3.0),)),)), Patches(padding="circular"),
])  # fmt: skip
def test_patches_count_where_the_extension_takes_part_and_nowhere_else(patches: Patches) -> None:
    hooks = [JobHooks(name="a", patches=lambda job: patches)]
    before = {name: weight.clone() for name, weight in tiny_model().unet.state_dict().items()}
    plain, patched, again = (drawn([asked(*names)], hooks)[0] for names in ((), ("a",), ()))
    assert not same(plain, patched, 1)
    assert same(plain, again)
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model().unet.state_dict().items())


def test_jobs_with_different_patches_at_once_equal_each_alone() -> None:
    factors = {"a": 1.0, "b": -2.0}
    hooks = [JobHooks(name=name, patches=lambda job, name=name: stronger(name, factors[name])) for name in factors]
    wanted = [asked("a"), asked("b", seed=2), asked("a", "b", seed=3), asked(seed=4)]
    together = drawn(wanted, hooks)
    alone = [drawn([each], hooks)[0] for each in wanted]
    assert all(same(one, other, 1) for one, other in zip(together, alone, strict=True))
    plain = [drawn([replace(each, extensions={})], hooks)[0] for each in wanted[:3]]
    assert not any(same(one, other, 1) for one, other in zip(alone[:3], plain, strict=True))


def test_the_second_pass_has_its_own_and_the_refiner_none() -> None:
    passes: list[Row] = []

    def rows(job: Job) -> Any:
        def change(row: Row) -> Asks:
            yield from ()
            passes.append(row)
            return row

        return change

    own = {False: stronger("first", 0.5), True: stronger("second", 0.5)}
    hooks = [JobHooks(name="a", patches=lambda job: own[job.second], rows=rows)]
    drawn([asked("a", hires=HIRES)], hooks, upscaler="Latent")
    contents = [row.patches.weights[0].content for row in passes]
    assert contents == ["first"] * 8 + ["second"] * 6
    passes.clear()
    drawn([asked("a", refiner="other", refiner_switch_at=0.5, steps=4)], hooks, refiner=replace(MODEL, name="other"))
    assert 0 < len(passes) < 8 and {row.network for row in passes} == {"tiny"}


# --- guidance, denoisers, rows --------------------------------------------------------------------------------------


X = torch.ones(4, 2, 2)
AT = Moment(2.0, 0, 10)


def texts(*weights: float) -> Texts:
    parts = tuple(
        Part(course=constant(Conditioning(torch.full((1, 1), float(place + 1)))), weight=weight)
        for place, weight in enumerate(weights)
    )
    return Texts(parts=parts, course=constant(Conditioning(torch.full((1, 1), 10.0))))


def by_text(ask: Any) -> tuple[Tensor, ...]:
    return tuple(torch.full_like(row.x, float(row.conditioning.tokens)) for row in ask.rows)


def guides(seen: list[Guided], *adds: float) -> list[Any]:
    def one(add: float) -> Any:
        def guide(given: Guided) -> Asks:
            seen.append(given)
            (more,) = yield Rows(given.row(given.x, given.at, given.texts.parts[0].at(given.at), "more"))
            return given.denoised + add * more

        return guide

    return [one(add) for add in adds]


def test_each_guide_sees_what_the_one_before_made_and_what_it_is_made_of() -> None:
    seen: list[Guided] = []
    denoise = guided(texts(1.0), 3.0, plain_row(), guides=guides(seen, 100, 1000))
    answer = answer_all(denoise(X, AT), by_text)
    assert torch.equal(answer, X * (10 + 3 * (1 - 10) + 1100))
    assert [float(each.denoised[0, 0, 0]) for each in seen] == [-17, 83]
    assert all(float(each.cond[0, 0, 0]) == 1 and float(each.uncond[0, 0, 0]) == 10 and each.scale == 3 for each in seen)


def test_guides_of_several_parts_of_none_of_pairs_and_of_distilled_networks() -> None:
    seen: list[Guided] = []
    answer = answer_all(guided(texts(1.0, 0.5), 2.0, plain_row(), guides=guides(seen, 1))(X, AT), by_text)
    assert float(seen[0].cond[0, 0, 0]) == 10 + (1 - 10) + 0.5 * (2 - 10)
    assert torch.equal(answer, X * (10 + 2 * (-9 - 4) + 1))
    assert answer_all(guided(texts(1.0), 1.0, plain_row(), guides=guides(seen, 1))(X, AT), by_text)[0, 0, 0] == 2
    assert seen[1].uncond is None
    paired = replace(PLAIN, paired=True)
    pair = answer_all(guided(texts(1.0), 12.5, plain_row(), paired, guides(seen, 1))(X, AT), by_text)
    assert [float(each[0, 0, 0]) for each in pair] == [2, 10]
    found = answer_all(distilled(texts(1.0), 4.0, plain_row(), guides=guides(seen, 1))(X, AT), by_text)
    assert float(found[0, 0, 0]) == 2 and seen[-1].uncond is None
    assert seen[-1].row(X, AT, seen[-1].texts.parts[0].at(AT), "more").guidance == 4.0


def test_a_denoiser_is_wrapped_outside_of_guidance_and_inside_of_a_mask() -> None:
    def denoiser(job: Job, denoise: Any) -> Any:
        def wrapped(x: Tensor, at: Moment) -> Asks:
            answer = yield from denoise(x, at)
            return torch.zeros_like(answer)

        return wrapped

    hooks = [JobHooks(name="a", denoiser=denoiser)]
    picture = torch.randint(0, 256, (4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    picture[3] = 255
    mask = torch.zeros(16, 16)
    mask[:, 8:] = 1
    given = Given(picture=picture, mask=mask)
    wanted = asked("a", task="inpaint", strength=1.0, mask_blur=0)
    (found,) = drawn([wanted], hooks, given=given)
    (plain,) = drawn([replace(wanted, extensions={})], hooks, given=given)
    assert same(found[:, :8], plain[:, :8])  # what is kept
    assert not same(found[:, 8:], plain[:, 8:], 8)


def test_rows_are_changed_wherever_they_come_from_and_may_be_asked_about() -> None:
    asks: list[Any] = []

    def rows(job: Job) -> Any:
        def change(row: Row) -> Asks:
            asks.append((row.role, (yield Read(row.x)).shape))
            meaning = yield from job.encode("something else")
            return replace(row, conditioning=meaning)

        return change

    def guide(job: Job) -> Any:
        return guides([], 0.0)[0]

    hooks = [JobHooks(name="a", rows=rows, guide=guide)]
    found = drawn([asked("a", steps=2)], hooks)[0]
    assert [role for role, _ in asks] == ["cond", "uncond", "more"] * 2
    assert same(found, drawn([asked(prompt="something else", negative="something else", steps=2)], hooks)[0], 1)


def test_an_attention_hook_of_a_row_sees_that_row_alone() -> None:
    sites: list[tuple[int, float]] = []

    class Watch:
        def output(self, call: Site, x: Tensor) -> Tensor:
            sites.append((call.rows, call.at[0].sigma))  # type: ignore[index]
            return x * 1.5

    watch = Patches(attention=(Watch(),))

    def rows(job: Job) -> Any:
        def change(row: Row) -> Asks:
            yield from ()
            return replace(row, patches=row.patches + watch) if row.role == "cond" else row

        return change

    plain, watched = (drawn([asked(*names)], [JobHooks(name="a", rows=rows)])[0] for names in ((), ("a",)))
    assert not same(plain, watched, 1)
    assert {count for count, _ in sites} == {1} and len({sigma for _, sigma in sites}) == 4


# --- finished pictures and pictures on the way ----------------------------------------------------------------------


def nested(job: Job, **changes: Any) -> Request:
    return replace(job.request, **{"extensions": {}, "prompt": "another", "seed": 11, **changes})


def test_a_finished_picture_may_be_made_of_others_and_steps_go_on_counting() -> None:
    def finish(job: Job, picture: Picture) -> Asks:
        assert picture.pixels.device.type == "cpu"
        own = yield from job.generate(nested(job, steps=3))
        again = yield from job.generate(
            nested(job, task="img2img", steps=3, strength=1.0), {"picture": torch.zeros(4, 20, 20, dtype=torch.uint8)}
        )
        return replace(picture, pixels=torch.cat([picture.pixels, own.pixels, again.pixels], dim=-1))

    engine = stepped(start_of([JobHooks(name="a", finish=finish)]), networks())
    job = engine.submit(asked("a"))
    heard = heard_live(engine, job)
    progress = [(each.step, each.steps) for each in heard if isinstance(each, events.Progress)]
    assert progress == [*((step, 4) for step in range(1, 5)), *((step, 7) for step in range(5, 8)),
                        *((step, 10) for step in range(8, 11))]  # fmt: skip
    pixels = pictures(engine, job)[0].pixels
    assert same(pixels[:, :16], drawn([asked()], [])[0])
    assert same(pixels[:, 16:32], drawn([asked(prompt="another", seed=11, steps=3)], [])[0])


def test_the_whole_picture_is_finished_and_once_after_all_loops() -> None:
    sizes: list[tuple[int, ...]] = []

    def finish(job: Job, picture: Picture) -> Asks:
        yield from ()
        sizes.append(tuple(picture.pixels.shape))
        return replace(picture, pixels=1 - picture.pixels)

    hooks = [JobHooks(name="a", finish=finish)]
    mask = torch.zeros(24, 40)
    mask[4:12, 4:12] = 1
    picture = torch.full((4, 24, 40), 255, dtype=torch.uint8)
    wanted = asked("a", task="inpaint", area="Only masked", width=16, height=16, strength=0.8, loops=2, padding=4)
    (found,) = drawn([wanted], hooks, given=Given(picture=picture, mask=mask))
    assert sizes == [(3, 24, 40)]
    (plain,) = drawn([replace(wanted, extensions={})], hooks, given=Given(picture=picture, mask=mask))
    assert same(found, 255 - plain, 1)


def test_pictures_made_on_the_way_of_another_are_no_steps_of_it() -> None:
    made: list[Picture] = []

    def guide(job: Job) -> Any:
        def guide(given: Guided) -> Asks:
            if given.at.step == 1:
                made.append((yield from job.generate(nested(job, steps=7))))
            return given.denoised

        return guide

    engine = stepped(start_of([JobHooks(name="a", guide=guide)]), networks())
    job = engine.submit(asked("a"))
    progress = [each for each in heard_live(engine, job) if isinstance(each, events.Progress)]
    assert [(each.step, each.steps) for each in progress] == [(step, 4) for step in range(1, 5)]
    assert same(pictures(engine, job)[0].pixels, drawn([asked()], [])[0])
    assert len(made) == 1


def test_an_extension_that_takes_part_in_what_it_makes_is_told_so() -> None:
    def finish(job: Job, picture: Picture) -> Asks:
        return (yield from job.generate(job.request))

    engine = stepped(start_of([JobHooks(name="a", finish=finish)]), networks())
    job = engine.submit(asked("a", steps=1))
    run(engine)
    failed = last(engine, job)
    assert isinstance(failed, events.Failed) and f"{MOST_NESTED} times" in failed.sentence and failed.by_request


def test_what_finishes_with_no_picture_is_named() -> None:
    def finish(job: Job, picture: Picture) -> Asks:
        yield from ()
        return "no picture"

    with pytest.raises(ExtensionError, match=r"extension a made .*no picture"):
        answer_all(generate(asked("a", task="img2img", strength=0), MODEL, Registry(hooks=[JobHooks(name="a", finish=finish)]),
                            given=Given(picture=torch.zeros(4, 16, 16, dtype=torch.uint8))), lambda ask: ask.tensor)  # fmt: skip


def test_interrupted_while_it_is_finished_the_picture_is_kept_as_it_was() -> None:
    ended: list[str] = []
    begun: list[int] = []

    def finish(job: Job, picture: Picture) -> Asks:
        begun.append(1)
        try:
            own = yield from job.generate(nested(job, steps=50))
        except Stopped:
            ended.append("stopped")
            raise
        return replace(picture, pixels=own.pixels)

    for calls, early in ((4, ["stopped"]), (8, [])):
        ended.clear()
        begun.clear()
        engine = stepped(start_of([JobHooks(name="a", finish=finish)]), networks())
        job = engine.submit(asked("a"))
        while not begun or engine.calls < calls:
            assert engine.step()
        engine.interrupt(job)
        run(engine)
        assert isinstance(last(engine, job), events.Interrupted)
        assert same(pictures(engine, job)[0].pixels, drawn([asked()], [])[0]) == bool(early)
        assert ended == early


def test_interrupted_in_a_hook_of_a_row_the_picture_is_what_was_seen_last() -> None:
    def rows(job: Job) -> Any:
        def change(row: Row) -> Asks:
            yield Call("forever")
            return row

        return change

    class Calls:
        def __init__(self) -> None:
            self.count = 0

    counted = Calls()
    own = networks()
    answered = own.call

    def call(ask: Any) -> Any:
        counted.count += 1
        if counted.count == 5:  # in the third step
            engine.interrupt(job)
        return None if ask.network == "forever" else answered(ask)

    own.call = call  # type: ignore[method-assign]
    engine = stepped(start_of([JobHooks(name="a", rows=rows)]), own)
    job = engine.submit(asked("a"))
    run(engine)
    assert isinstance(last(engine, job), events.Interrupted) and len(pictures(engine, job)) == 1
    assert counted.count == 5


# --- what is told, and what goes wrong ------------------------------------------------------------------------------


def test_a_sentence_is_told_once_to_whoever_started_the_job() -> None:
    def patches(job: Job) -> None:
        job.tell("264 of 264 weights\nare patched")

    def finish(job: Job, picture: Picture) -> Asks:
        yield from ()
        job.tell("finished")
        return picture

    engine = stepped(start_of([JobHooks(name="a", patches=patches, finish=finish)]), networks())
    job, other = engine.submit(asked("a", count=3)), engine.submit(asked())
    run(engine)
    sentences = [each.sentence for each in told(engine, job) if isinstance(each, events.Notice)]
    assert sentences == ["264 of 264 weights\\nare patched", "finished"]
    assert not any(isinstance(each, events.Notice) for each in told(engine, other))


@pytest.mark.parametrize("hook", ["patches", "rows", "guide", "denoiser", "finish"])
def test_an_error_costs_its_own_job_and_the_others_are_the_same(hook: str) -> None:
    def raises(*_: Any) -> Any:
        raise UserError("This will not do.")

    hooks = [JobHooks(name="a", **{hook: raises}), JobHooks(name="b", patches=lambda job: stronger("b", 1.0))]
    engine = stepped(start_of(hooks), networks())
    wanted = [asked("a", "b"), asked("b"), asked()]
    jobs = [engine.submit(each) for each in wanted]
    run(engine)
    failed, *others = (last(engine, job) for job in jobs)
    assert isinstance(failed, events.Failed) and failed.sentence == "This will not do."
    assert all(isinstance(each, events.Finished) for each in others)
    for job, each in zip(jobs[1:], wanted[1:], strict=True):
        assert same(pictures(engine, job)[0].pixels, drawn([each], hooks)[0], 1)
    assert same(drawn([asked()], hooks)[0], drawn([asked()], [])[0])


def test_cancelled_in_the_middle_nothing_is_left() -> None:
    hooks = [JobHooks(name="a", patches=lambda job: stronger("a", 1.0))]
    engine = stepped(start_of(hooks), networks())
    job = engine.submit(asked("a"))
    for _ in range(6):
        engine.step()
    engine.cancel(job)
    run(engine)
    assert isinstance(last(engine, job), events.Cancelled)
    again = engine.submit(asked())
    run(engine)
    assert same(pictures(engine, again)[0].pixels, drawn([asked()], [])[0])


def test_a_sampler_with_pairs_is_guided_and_wrapped_too() -> None:
    from extensions.samplers import samplers

    (info,) = [each for each in samplers() if each.cfg_pp]
    shapes: list[tuple[int, ...]] = []

    def denoiser(job: Job, denoise: Any) -> Any:
        def wrapped(x: Tensor, at: Moment) -> Asks:
            answer = yield from denoise(x, at)
            shapes.append(tuple(answer.shape))  # of the guided one alone
            return answer / 2

        return wrapped

    hooks = [JobHooks(name="a", guide=lambda job: guides([], 0.5)[0]), JobHooks(name="b", denoiser=denoiser)]
    registry = Registry(samplers={**SAMPLERS, info.name: info}, hooks=hooks)

    def start(wanted: Request) -> list[Asks]:
        return [generate(wanted, MODEL, registry)]

    found = []
    for names in ((), ("a",), ("b",)):
        engine = stepped(start, networks())
        job = engine.submit(asked(*names, sampler=info.name, schedule="DDIM timesteps"))
        run(engine)
        found.append(pictures(engine, job)[0].pixels)
    assert not same(found[0], found[1], 1) and not same(found[0], found[2], 1)
    assert shapes == [(4, 8, 8)] * 4

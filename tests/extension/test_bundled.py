"""The bundled extensions say how they are used, and do what the test kit wants of any."""

from __future__ import annotations

import pytest

from webui.extension.testing import check
from webui.extension.testing_use import read_use
from webui.service.composed import composed_tasks
from webui.service.extension_lock import WITH_PROGRAM
from webui.service.extensions import BUNDLED, bundled

NAMES = sorted(place.parent.name for place in BUNDLED.glob("*/extension.toml"))
ONLY_SCRIPTS = {"prompt_matrix", "prompts_from_file", "xyz_plot"}  # which make jobs of others' parameters


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_it_is_used_with_what_it_has(name: str) -> None:
    use = read_use(BUNDLED / name)
    if name not in WITH_PROGRAM:
        pytest.skip("somebody installed it")
    assert (use is None) == (name in ONLY_SCRIPTS)
    if use is not None:
        known = composed_tasks(bundled())[use.task].__dataclass_fields__
        assert set(use.parameters) <= set(known)
        module, _, function = use.make.partition(":")
        assert not use.make or f"def {function}(" in (BUNDLED / name / f"{module}.py").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONLY_SCRIPTS])
def test_it_does_what_it_should_and_leaves_no_trace(name: str) -> None:
    check(BUNDLED / name)

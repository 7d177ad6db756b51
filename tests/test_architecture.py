"""The rules of the architecture, read from the source: layers, sizes, state, names. Each is shown to catch something."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FUNCTION = 60
LONGEST_FILE = 400

LEAVES = {"conventions", "params", "drawing", "scripts", "tasks", "request", "errors", "infotext", "settings"}
PATH_TO_PICTURE = ["nets", "weights", "pipeline", "engine", "service"]
EDGES = {"api", "ui", "commands"}  # commands: what cli.py dispatches to
# What each part of webui may import besides itself. A part that is not here fails the test: it needs a place first.
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(LEAVES, LEAVES),
    **{layer: LEAVES | set(PATH_TO_PICTURE[:at]) for at, layer in enumerate(PATH_TO_PICTURE)},
    **{edge: LEAVES | set(PATH_TO_PICTURE) | {"training", "facts", "doctor", "install", "extension"} for edge in EDGES},
    "metadata": LEAVES,
    "cli": LEAVES | {"commands", "training", "doctor"},
    "training": LEAVES | {"nets", "weights", "pipeline"},
    "extension": LEAVES | {"nets", "weights", "pipeline", "scripts"},
    "scripts": LEAVES,
    "install": {"errors"},
    "facts": {"errors", "install"},
    "doctor": {"errors", "install", "facts"},
    "__main__": {"cli"},
    "__init__": set(),
}
ALLOWED["commands"] = ALLOWED["commands"] | {"api", "ui"}  # one of them serves the page
# Where everything is put together, the machine's memory is known and extensions are loaded.
ALLOWED["service"] = ALLOWED["service"] | {"facts", "extension", "scripts"}
for reader in ("service", *EDGES):  # who knows files may know what they say
    ALLOWED[reader] = ALLOWED[reader] | {"metadata"}
for pure in ("nets", "pipeline"):
    ALLOWED[pure] = ALLOWED[pure] - {"settings"}

# The test kit is a program that uses the API's other side: nothing else of the API may import it.
TEST_KIT = {f"webui/extension/{name}.py": {"engine", "service"} for name in ("testing", "testing_use", "testing_bench")}

FILE_MODULES = {"pathlib", "os", "shutil", "tempfile", "glob", "fileinput", "sqlite3"}
PURE_LAYERS_WITHOUT = {"gradio", "pluggy"} | FILE_MODULES
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "shared", "misc"}

# Where everything may be caught, and why. The path and the function it is in.
CATCHES_ALL: dict[tuple[str, str], str] = {
    ("webui/weights/pickles.py", "load_pickle"): "torch.load raises nearly anything on a broken file: a ModelFileError",
    ("webui/pipeline/brownian.py", "_run"): "noise that cannot be drawn ahead fails once more, for its job, when it is asked for",
    ("webui/pipeline/kdiffusion.py", "run"): "what a sampler raises in its own thread is raised again where its job is",
    ("webui/engine/faults.py", "said"): "an extension's error may raise where it is turned into text; it is told without words",
    ("webui/engine/driving.py", "close"): "edge of a job: a failing clean-up must not reach the other jobs; it is logged",
    ("webui/engine/driving.py", "_run"): "edge of a job: what a sampler or hook raises is its job's failure",
    ("webui/engine/driving.py", "_show"): "edge of a job: a preview that fails must not cost the picture; it is logged",
    ("webui/engine/driving.py", "_deliver"): "edge of a job: a picture that cannot be delivered is its job's failure",
    ("webui/engine/engine.py", "_prepare"): "edge of a job: a request that cannot start is its job's failure",
    ("webui/engine/engine.py", "_loop"): "last resort: open jobs fail with the reason instead of waiting for ever; it is logged",
    ("webui/engine/work.py", "_asked"): "edge of a job: rows that cannot be put in line are the failure of who asked",
    ("webui/engine/work.py", "_answer"): "edge of a job: what answering an ask raises, hooks included, is its job's failure",
    ("webui/engine/work.py", "_predict"): "edge of a job: a call that raises, hooks included, fails the job whose rows it held",
    ("webui/engine/work.py", "_ready"): "edge of a job: rows about which nothing can be said are the failure of who asked",
    ("webui/engine/work.py", "_swaps"): "edge of a job: an ask about which nothing can be said fails its job when it is answered",
    ("webui/engine/work.py", "_settle"): "edge of a job: what a device reports late is the failure of who shared the call",
    ("webui/api/application.py", "_repeat"): "upkeep that fails once must not end upkeep; it is logged and tried again",
    ("webui/api/failures.py", "__call__"): "edge of a request: a fault costs one answer, which names its place in the log",
    ("webui/service/engines.py", "_loop"): "edge of a job: an engine that cannot be opened is its jobs' failure",
    ("webui/service/extension_guard.py", "called"): "edge of an extension: what it raises is raised again under its name",
    ("webui/service/extension_guard.py", "send"): "edge of an extension: what it raises is raised again under its name",
    ("webui/service/extension_guard.py", "throw"): "edge of an extension: what it raises is raised again under its name",
    ("webui/service/extension_guard.py", "_run"): "edge of an extension: what it raises is raised again where it is waited for",
    ("webui/service/extension_guard.py", "_text"): "an extension's error may raise where it is turned into text",
    ("webui/service/extension_shelf.py", "_begin"): "extensions load here: one that raises is left out, with its reason; logged",
    ("webui/service/extension_trial.py", "main"): "whatever new code raises is what another process is asked",
    ("webui/service/extension_watch.py", "_loop"): "last resort: without this thread no hook would have a limit; it is logged",
    ("webui/service/groups_running.py", "_loop"): "last resort: without this thread no plot would go on; it is logged",
    ("webui/service/groups_running.py", "_draw"): "edge of a grid: what drawing or keeping it raises costs this grid only",
    ("webui/service/worker.py", "_begin"): "edge of a job: what cannot be handed to the engine is its job's failure",
    ("webui/service/worker.py", "_read"): "edge of a job: what cannot be found out about its model is its job's failure",
    ("webui/service/worker.py", "_hear"): "edge of a job: an event that cannot be acted on is its job's failure, or that of all",
    ("webui/service/worker.py", "_loop"): "last resort: without this thread no job would ever end; it is logged",
}

TYPE_MAKERS = {"TypeVar", "NewType", "ParamSpec", "TypeVarTuple"}
MUTATORS = {"append", "extend", "insert", "update", "setdefault", "add", "clear", "pop", "popitem", "remove", "discard"}


def sources(*folders: str) -> list[Path]:
    """Return every Python file under folders of the repository that exist."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if (ROOT / folder).is_dir()]
    return [path for path in found if "__pycache__" not in path.parts]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PRODUCT = [ROOT / "launch.py", *sources("webui", "extensions", "models/builtin", "benchmarks")]
WEBUI = sources("webui")


# --- reading imports -------------------------------------------------------------------------------------------------


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a file imports; relative imports are made absolute, dynamic ones included."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and name_of(node.func).split(".")[-1] in ("import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def name_of(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = name_of(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def part_of(path: str) -> str:
    """Return the part of webui that a file is in: `nets` for webui/nets/unet.py, `cli` for webui/cli.py."""
    return path.split("/")[1].removesuffix(".py")


# --- the rules: (path, tree, text) -> what is wrong ------------------------------------------------------------------

Rule = Callable[[str, ast.Module, str], Iterator[str]]


def layers(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """Left never imports right."""
    part = part_of(path)
    if part not in ALLOWED:
        yield f"{path}: webui/{part} has no place among the layers; add it to ALLOWED"
        return
    for line, name in imports(path, tree):
        words = name.split(".")
        if words[0] != "webui" or len(words) < 2:
            continue
        target = words[1]
        if target in ("__version__", part):
            continue
        if target not in ALLOWED[part] | TEST_KIT.get(path, set()):
            yield f"{path}:{line}: {part} imports {target}"


def pure_layers(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """nets and pipeline know no interface, no plugins, no files."""
    if part_of(path) not in ("nets", "pipeline"):
        return
    for line, name in imports(path, tree):
        if name.split(".")[0] in PURE_LAYERS_WITHOUT:
            yield f"{path}:{line}: imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield f"{path}:{node.lineno}: opens a file"


def extensions_use_the_api(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """Extensions import nothing of webui but webui.extension."""
    if not path.startswith("extensions/"):
        return
    for line, name in imports(path, tree):
        if name.split(".")[0] == "webui" and name.split(".")[:2] != ["webui", "extension"]:
            yield f"{path}:{line}: imports {name}"


def foreign_packages(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """torchvision nowhere, diffusers where it is what ours is compared with: in tests and benchmarks."""
    for line, name in imports(path, tree):
        package = name.split(".")[0]
        if package == "torchvision" or (package == "diffusers" and not path.startswith(("tests/", "benchmarks/"))):
            yield f"{path}:{line}: imports {package}"


def module_names(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """No file or folder is called something that says nothing."""
    for word in path.removesuffix(".py").split("/"):
        if NAMES_THAT_SAY_NOTHING & set(word.split("_")):
            yield f"{path}: {word} does not say what is in it"


def sizes(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """No function over 60 lines, no file over 400."""
    lines = len(text.splitlines())
    if lines > LONGEST_FILE:
        yield f"{path}: {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines"


def module_state(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """Module-level names are upper-case constants or types, and no function changes them."""
    constants = set()
    for node in top_level(tree):
        for target in assigned(node):
            if not isinstance(target, ast.Name):
                yield f"{path}:{target.lineno}: assigns to something else than a name at module level"
            elif is_constant(target.id) or (is_type_name(target.id) and makes_a_type(getattr(node, "value", None))):
                constants.add(target.id)
            else:
                yield f"{path}:{target.lineno}: {target.id} is module state"
    for function in functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield f"{path}:{node.lineno}: global {', '.join(node.names)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                if isinstance(node.func.value, ast.Name) and node.func.value.id in constants:
                    yield f"{path}:{node.lineno}: changes {node.func.value.id}"
            for target in assigned(node):
                if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id in constants:
                    yield f"{path}:{node.lineno}: changes {target.value.id}"


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements a module runs on import, those under if, for, try and with included."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop(0)
        yield node
        if isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.With):
            inner = [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
            todo += inner + [line for handler in getattr(node, "handlers", []) for line in handler.body]
            is_main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            todo = [line for line in todo if not (is_main and line in node.body)]


def assigned(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a statement assigns to or deletes, tuples taken apart."""
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return
    while targets:
        target = targets.pop(0)
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        elif isinstance(target, ast.Starred):
            targets.append(target.value)
        else:
            yield target


def is_constant(name: str) -> bool:
    return re.fullmatch(r"_?[A-Z][A-Z0-9_]*|__\w+__|_", name) is not None


def is_type_name(name: str) -> bool:
    return re.fullmatch(r"_?[A-Z][A-Za-z0-9]*", name) is not None


def makes_a_type(value: ast.expr | None) -> bool:
    """Tell an alias or a type variable from a value."""
    if isinstance(value, ast.Call):
        return name_of(value.func).split(".")[-1] in TYPE_MAKERS
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def no_patching(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """No attribute of an imported name is assigned, deleted, or set with setattr."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    hidden: dict[int, set[str]] = {}  # a parameter or local variable of the same name hides the import
    for function in functions(tree):
        own = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        for inner in ast.walk(function):
            own |= {target.id for target in assigned(inner) if isinstance(target, ast.Name)}
        for inner in ast.walk(function):
            hidden.setdefault(id(inner), set()).update(own)
    for node in ast.walk(tree):
        visible = imported - hidden.get(id(node), set())
        for target in assigned(node):
            if isinstance(target, ast.Attribute) and name_of(target).split(".")[0] in visible:
                yield f"{path}:{target.lineno}: assigns to {name_of(target)}"
        if isinstance(node, ast.Call) and name_of(node.func) in ("setattr", "delattr") and node.args:
            if name_of(node.args[0]).split(".")[0] in visible:
                yield f"{path}:{node.lineno}: {name_of(node.func)} on {name_of(node.args[0])}"


def catching_everything(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """`except Exception`, `except BaseException` and a bare `except` only where CATCHES_ALL gives a reason, or to raise on."""
    inside = {id(node): function.name for function in functions(tree) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        broad = any(kind is None or name_of(kind) in ("Exception", "BaseException") for kind in kinds)
        raises_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if broad and not raises_on and (path, inside.get(id(node), "")) not in CATCHES_ALL:
            yield f"{path}:{node.lineno}: catches everything in {inside.get(id(node), 'the module')}"


def docstrings(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    """Every module, and every public class and function of it, says what it is."""
    if not ast.get_docstring(tree):
        yield f"{path}: no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{path}:{node.lineno}: {node.name} has no docstring"


# --- the tree keeps them ---------------------------------------------------------------------------------------------

EVERYWHERE: list[tuple[Rule, list[Path]]] = [
    (layers, WEBUI),
    (pure_layers, WEBUI),
    (extensions_use_the_api, sources("extensions")),
    (foreign_packages, [*PRODUCT, *sources("tests")]),
    (module_names, PRODUCT),
    (sizes, PRODUCT),
    (module_state, PRODUCT),
    (no_patching, PRODUCT),
    (catching_everything, PRODUCT),
    (docstrings, WEBUI),
]


@pytest.mark.parametrize(("rule", "files"), EVERYWHERE, ids=lambda value: getattr(value, "__name__", ""))
def test_the_tree_keeps_the_rule(rule: Rule, files: list[Path]) -> None:
    found = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        found += rule(relative(path), ast.parse(text), text)
    assert not found, "\n" + "\n".join(found)


def test_everything_allowed_to_catch_all_still_does() -> None:
    for path, function in CATCHES_ALL:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in functions(tree)}, f"{path} has no {function} any more"


# --- and each rule catches something ---------------------------------------------------------------------------------

PLANTED: list[tuple[Rule, str, str]] = [
    (layers, "webui/nets/unet.py", "import webui.pipeline.samplers"),
    (layers, "webui/nets/unet.py", "from ..pipeline import samplers"),
    (layers, "webui/nets/unet.py", "from .. import weights"),
    (layers, "webui/nets/unet.py", "from webui import settings"),
    (layers, "webui/pipeline/generate.py", "def f():\n    from webui.engine import local"),
    (layers, "webui/engine/local.py", "from webui.service.gallery import save"),
    (layers, "webui/weights/files.py", "from webui.training import loop"),
    (layers, "webui/service/jobs.py", "import webui.cli"),
    (layers, "webui/training/loop.py", "from ..engine import local"),
    (layers, "webui/errors.py", "from webui.nets import unet"),
    (layers, "webui/install/packages.py", "import importlib\nimportlib.import_module('webui.nets')"),
    (layers, "webui/novelty.py", ""),
    (layers, "webui/extension/kinds.py", "from webui.service import extensions"),
    (pure_layers, "webui/nets/unet.py", "import gradio as gr"),
    (pure_layers, "webui/pipeline/generate.py", "from pathlib import Path"),
    (pure_layers, "webui/pipeline/generate.py", "import os.path"),
    (pure_layers, "webui/nets/tokenizer.py", "def f(p):\n    return open(p).read()"),
    (extensions_use_the_api, "extensions/lora/__init__.py", "from webui.pipeline import patches"),
    (foreign_packages, "webui/nets/unet.py", "import torchvision.transforms"),
    (foreign_packages, "tests/nets/test_unet.py", "from torchvision import ops"),
    (foreign_packages, "webui/nets/unet.py", "from diffusers import UNet2DConditionModel"),
    (module_names, "webui/pipeline/utils.py", ""),
    (module_names, "webui/shared/images.py", ""),
    (module_names, "webui/engine/memory_manager.py", ""),
    (sizes, "webui/nets/unet.py", "def long():\n" + "    pass\n" * LONGEST_FUNCTION),
    (sizes, "webui/nets/unet.py", "\n" * (LONGEST_FILE + 1)),
    (module_state, "webui/nets/unet.py", "cache = {}"),
    (module_state, "webui/nets/unet.py", "Cache = {}"),
    (module_state, "webui/nets/unet.py", "if True:\n    current: int = 3"),
    (module_state, "webui/nets/unet.py", "COUNT = 0\ndef f():\n    global COUNT\n    COUNT += 1"),
    (module_state, "webui/nets/unet.py", "SEEN = {}\ndef f(key):\n    SEEN[key] = 1"),
    (module_state, "webui/nets/unet.py", "SEEN = []\ndef f(key):\n    SEEN.append(key)"),
    (no_patching, "webui/nets/unet.py", "import torch\ntorch.backends.cudnn.benchmark = True"),
    (no_patching, "webui/nets/unet.py", "from torch import nn\ndef f(g):\n    nn.Linear.forward = g"),
    (no_patching, "webui/nets/unet.py", "import torch\nsetattr(torch.nn, 'Linear', None)"),
    (no_patching, "webui/nets/unet.py", "import torch\ndel torch.nn.Linear"),
    (catching_everything, "webui/nets/unet.py", "def f():\n    try:\n        g()\n    except Exception:\n        return None"),
    (catching_everything, "webui/nets/unet.py", "try:\n    g()\nexcept:\n    pass"),
    (catching_everything, "webui/nets/unet.py", "try:\n    g()\nexcept (ValueError, BaseException):\n    raise ValueError"),
    (docstrings, "webui/nets/unet.py", "def f() -> None:\n    pass"),
    (docstrings, "webui/nets/unet.py", '"""Module."""\nclass Unet:\n    pass'),
]

ALLOWED_SNIPPETS: list[tuple[Rule, str, str]] = [
    (layers, "webui/pipeline/generate.py", "from webui.weights import rules\nfrom . import samplers\nimport torch"),
    (layers, "webui/cli.py", "from webui import errors\nfrom webui.training import loop"),
    (pure_layers, "webui/weights/files.py", "from pathlib import Path\nopen('x')"),
    (foreign_packages, "tests/nets/test_unet.py", "import diffusers"),
    (module_state, "webui/nets/unet.py", "LIMIT = 3\nDenoise = Callable[[int], int]\nT = TypeVar('T')\n__all__ = ['f']"),
    (module_state, "webui/nets/unet.py", "def f():\n    seen = {}\n    seen['a'] = 1\n    return seen"),
    (no_patching, "webui/nets/unet.py", "import torch\ndef f(torch):\n    torch.x = 1"),
    (no_patching, "webui/nets/unet.py", "import torch\nclass A:\n    def g(self):\n        self.x = 2"),
    (catching_everything, "webui/nets/unet.py", "try:\n    g()\nexcept BaseException:\n    undo()\n    raise"),
    (docstrings, "webui/nets/unet.py", '"""Module."""\ndef _f():\n    pass'),
]


def run_rule(rule: Rule, path: str, text: str) -> list[str]:
    return list(rule(path, ast.parse(text), text))


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_the_rule_catches(rule: Rule, path: str, text: str) -> None:
    assert run_rule(rule, path, text)


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED_SNIPPETS)
def test_the_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert not run_rule(rule, path, text)


def test_every_rule_is_shown_to_catch_something() -> None:
    assert {rule for rule, _ in EVERYWHERE} == {rule for rule, _, _ in PLANTED}


# --- rules that are not about one file -------------------------------------------------------------------------------

# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(r"\.\./" + r"shared\b|/wo" + r"rk/|/ho" + r"me/(?!you\b)\w+/|C:\\\\?Us" + r"ers\\")


def tracked_files() -> list[Path]:
    """Return the files of the repository, the ones not yet committed included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def circle(texts: dict[str, str]) -> list[str]:
    """Return modules that import each other in a circle, wherever in their files they do it; the texts are by path."""
    names = {path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path for path in texts}
    graph: dict[str, set[str]] = {}
    for module, path in names.items():
        for _, name in imports(path, ast.parse(texts[path])):
            while name and name not in names:
                name = name.rpartition(".")[0]
            if name and name != module:
                graph.setdefault(module, set()).add(name)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({relative(path): path.read_text(encoding="utf-8") for path in PRODUCT}) == []
    lazy = {"a/__init__.py": "", "a/b.py": "from a import c", "a/c.py": "def f():\n    from .b import g"}
    assert set(circle(lazy)) == {"a.b", "a.c"}


def test_nothing_mentions_a_path_of_some_machine() -> None:
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATHS.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:100]}")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("text", ["see ../" + "shared/x.json", "open('/wo" + "rk/main/x')", "/ho" + "me/anna/models"])
def test_machine_paths_are_recognised(text: str) -> None:
    assert MACHINE_PATHS.search(text)


LIGHT = ["webui", "webui.params", "webui.request", "webui.errors", "webui.infotext", "webui.cli", "webui.doctor"]


@pytest.mark.parametrize("module", LIGHT)
def test_importing_does_not_import_torch(module: str) -> None:
    if module != "webui" and not (ROOT / (module.replace(".", "/") + ".py")).exists():
        pytest.skip(f"{module} is not written yet")
    heavy = "{'torch', 'transformers', 'numpy', 'gradio'} & set(sys.modules)"
    code = f"import sys, {module}; found = {heavy}; sys.exit(', '.join(found) + ' imported' if found else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WITHOUT_TORCH = ["webui.service.studio", "webui.pipeline.samplers", "webui.pipeline.schedules", "webui.weights.families"]


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_is_behind_the_page_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(', '.join({{'torch', 'gradio'}} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_launcher_needs_the_standard_library_only() -> None:
    alone = ["launch.py", "webui/errors.py", "webui/facts.py", "webui/doctor.py"]
    files = [*(ROOT / name for name in alone), *sources("webui/install")]
    lazily = {("webui/install/pins.py", "packaging"), ("webui/facts.py", "torch")}  # in functions that run inside .venv
    for path in files:
        for line, name in imports(relative(path), ast.parse(path.read_text(encoding="utf-8"))):
            package = name.split(".")[0]
            known = package in sys.stdlib_module_names or package == "webui" or (relative(path), package) in lazily
            assert known, f"{relative(path)}:{line}: {name}"

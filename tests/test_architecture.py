"""The house rules that a machine can hold, checked on the syntax tree of every source file.

A rule is a function from modules to complaints ("file:line: what is wrong"). The first half of the tests holds the
package to them; the second half shows, on made-up sources, that each rule can fail.
"""

from __future__ import annotations

import ast
import graphlib
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from hourglass.interfaces.cli import run

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "hourglass"
LAYERS = ("data", "core", "estimators", "interfaces")
SHARED = ("errors", "settings", "_version")
CORE_MAY_IMPORT = {"torch", "numpy", "safetensors"}
ONE_FILE_READER = "hourglass.core.checkpoints"
RUNS_CODE_ON_LOAD = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "torch.jit.load"}
HEAVY = {"torch", "torch._dynamo", "sklearn", "scipy", "pandas", "pyarrow.parquet", "plotly", "soundfile", "soxr"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    """Dotted, as imported."""
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def layer(self) -> str:
        """The first name below the package; the package root counts as an interface, since it reaches everything."""
        return self.name.split(".")[1] if "." in self.name else LAYERS[-1]

    @property
    def folder(self) -> str:
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]

    def at(self, node: ast.AST | int, complaint: str) -> str:
        return f"{self.path}:{node if isinstance(node, int) else getattr(node, 'lineno', 1)}: {complaint}"

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


Modules = dict[str, Module]
Rule = Callable[[Modules], Iterator[str]]


@cache
def package() -> Modules:
    source = ROOT / "src"
    paths = [path.relative_to(source) for path in sorted((source / PACKAGE).rglob("*.py"))]
    found = [Module(dotted_name(path), f"src/{path}", (source / path).read_text(encoding="utf-8")) for path in paths]
    return {module.name: module for module in found}


def dotted_name(path: Path) -> str:
    """The module that a file is, its path given from the folder that holds the package."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# What is imported: a name of ours stays as long as it is a module, so that `from hourglass.core import model` is an
# import of hourglass.core.model. Imports inside functions count, and so do import_module("literal") calls.


def imports(module: Module, modules: Modules) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a module imports anywhere."""
    for line, name in _imported_names(module):
        parent = name.rpartition(".")[0]
        yield line, name if name in modules or parent not in modules else parent


def _imported_names(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{_source(module, node)}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith(("import_module", "__import__")):
            yield from ((node.lineno, str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def _source(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.folder.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression that is such a name; subscripts (`Base[T]`) are looked through; "" for anything else."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


# The rules


def layers_are_respected(modules: Modules) -> Iterator[str]:
    """Each layer imports only from its left; the shared modules import only each other; the root reaches everything."""
    rank = dict.fromkeys((*SHARED, "recipes"), -1) | {layer: place for place, layer in enumerate(LAYERS)}
    for module in modules.values():
        if module.layer not in rank and module.layer != "__main__":
            yield module.at(1, f"{module.name} belongs to no layer of {', '.join(LAYERS)}")
            continue
        for line, name in imports(module, modules):
            target = [*name.split("."), LAYERS[-1]][1]
            if is_ours(name) and rank.get(target, len(LAYERS)) > rank.get(module.layer, len(LAYERS)):
                yield module.at(line, f"{module.layer} may not import {name}, which lies to its right")


def no_module_reaches_itself(modules: Modules) -> Iterator[str]:
    """No import cycles, imports inside functions counted; the package root, which only forwards names, is not."""
    graph = {
        name: {target for _, target in imports(module, modules) if target in modules and target != PACKAGE} - {name}
        for name, module in modules.items()
        if name != PACKAGE
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = error.args[1][::-1]
        yield modules[cycle[0]].at(1, "import cycle: " + " -> ".join(cycle))


def core_knows_only_tensors(modules: Modules) -> Iterator[str]:
    """Core imports torch, NumPy and the standard library; only the checkpoints open files."""
    for module in modules.values():
        if module.layer != "core":
            continue
        for line, name in imports(module, modules):
            top = name.split(".")[0]
            if not is_ours(name) and top not in sys.stdlib_module_names and top not in CORE_MAY_IMPORT:
                yield module.at(line, f"core may not import {name}: only {', '.join(sorted(CORE_MAY_IMPORT))}")
            if top == "safetensors" and module.name != ONE_FILE_READER:
                yield module.at(line, f"only {ONE_FILE_READER} reads and writes tensors")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and dotted(node.func) == "open" and module.name != ONE_FILE_READER:
                yield module.at(node, f"only {ONE_FILE_READER} opens files")


def files_are_short(modules: Modules, most: int = 400) -> Iterator[str]:
    for module in modules.values():
        if (lines := len(module.text.splitlines())) > most:
            yield module.at(most, f"the file has {lines} lines, at most {most} are wanted")


def functions_are_short(modules: Modules, most: int = 60) -> Iterator[str]:
    for module in modules.values():
        for function in module.functions():
            if (lines := length(function)) > most:
                yield module.at(function, f"{function.name} has {lines} lines, at most {most} are wanted")


def most_functions_are_tiny(modules: Modules, most: int = 8) -> Iterator[str]:
    lengths = [length(function) for module in modules.values() for function in module.functions()]
    if lengths and (middle := statistics.median(lengths)) > most:
        yield f"the median function has {middle:g} lines, at most {most} are wanted"


def length(function: Function) -> int:
    """Lines from `def` to the end, the docstring left out."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - sum((text.end_lineno or 0) - text.lineno + 1 for text in docstring_of(function))


def docstring_of(function: Function) -> list[ast.stmt]:
    return function.body[:1] if ast.get_docstring(function, clean=False) is not None else []


def everything_is_annotated(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        methods = {child for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) for child in node.body}
        for function in module.functions():
            bare = [argument.arg for argument in arguments(function, function in methods) if not argument.annotation]
            bare += [] if function.returns else ["its result"]
            if bare:
                yield module.at(function, f"{function.name} lacks annotations of {', '.join(bare)}")


def arguments(function: Function, is_method: bool) -> list[ast.arg]:
    """All arguments but the `self` or `cls` of a method."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    bound = is_method and "staticmethod" not in map(dotted, function.decorator_list)
    starred = [argument for argument in (given.vararg, given.kwarg) if argument]
    return [*positional[int(bound) :], *given.kwonlyargs, *starred]


def loading_runs_no_code(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for line, name in imports(module, modules):
            if name.split(".")[0] in RUNS_CODE_ON_LOAD or name in UNSAFE_CALLS:
                yield module.at(line, f"{name} may run what a file says")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and dotted(node.func) in UNSAFE_CALLS:
                yield module.at(node, f"{dotted(node.func)} may run what a file says")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                yield module.at(node.value, "allow_pickle must be False")


def nothing_is_asserted(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assert):
                yield module.at(node, "assert vanishes under -O and names no remedy: raise an error of ours")


def classes_are_abstract_or_final(modules: Modules) -> Iterator[str]:
    """No class overrides a concrete method of another of our classes; `__init__` may say more of the same."""
    classes = {
        f"{module.name}.{node.name}": (module, node)
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    for name, (module, node) in classes.items():
        ancestors = list(_ancestors(name, classes, modules))
        for method in methods(node):
            for ancestor in ancestors if method.name != "__init__" else []:
                if any(m.name == method.name and not is_abstract(m) for m in methods(classes[ancestor][1])):
                    yield module.at(method, f"{node.name}.{method.name} overrides the concrete one of {ancestor}")


def _ancestors(name: str, classes: dict[str, tuple[Module, ast.ClassDef]], modules: Modules) -> Iterator[str]:
    module, node = classes[name]
    for base in node.bases:
        parent = definition(dotted(base), module, modules)
        if parent in classes and parent != name:
            yield parent
            yield from _ancestors(parent, classes, modules)


def definition(name: str, module: Module, modules: Modules) -> str:
    """The full name of what `name` means in a module, followed through imports and re-exports."""
    if is_ours(name):  # written out, after `import hourglass.core.model`
        return name
    first, _, rest = name.partition(".")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if first == (alias.asname or alias.name):
                source = f"{_source(module, node)}." if isinstance(node, ast.ImportFrom) else ""
                full = f"{source}{alias.name}{'.' if rest else ''}{rest}"
                home, _, last = full.rpartition(".")
                forwarded = home in modules and full not in modules and home != module.name
                return definition(last, modules[home], modules) if forwarded else full
    return f"{module.name}.{name}"


def methods(node: ast.ClassDef) -> list[Function]:
    return [child for child in node.body if isinstance(child, Function)]


def is_abstract(method: Function) -> bool:
    """Marked so, or with a body that only says that someone else must write it."""
    if any(dotted(mark).endswith(("abstractmethod", "overload")) for mark in method.decorator_list):
        return True
    body = method.body[len(docstring_of(method)) :]
    return bool(body) and all(ast.unparse(line).startswith(("raise NotImplementedError", "...")) for line in body)


# The package keeps them


@pytest.mark.parametrize(
    "rule",
    [
        layers_are_respected,
        no_module_reaches_itself,
        core_knows_only_tensors,
        files_are_short,
        functions_are_short,
        most_functions_are_tiny,
        everything_is_annotated,
        loading_runs_no_code,
        nothing_is_asserted,
        classes_are_abstract_or_final,
    ],
    ids=lambda rule: rule.__name__,
)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    complaints = list(rule(package()))
    assert not complaints, "\n" + "\n".join(complaints)


def test_the_walk_sees_the_package() -> None:
    assert {"hourglass.errors", "hourglass.settings", "hourglass.data.samples"} <= set(package())


@pytest.mark.parametrize(
    "script", ["import hourglass; dir(hourglass)", "import hourglass.settings", "import hourglass.interfaces.cli"]
)
def test_an_import_brings_nothing_heavy(script: str) -> None:
    assert not heavy_imports(script)[0]


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["detect", "--help"]], ids=" ".join)
def test_help_brings_nothing_heavy(words: list[str]) -> None:
    heavy, talk = heavy_imports(f"from hourglass.interfaces.cli import run; sys.exit(run({words}))")
    assert not heavy
    assert "Usage" in talk


def test_a_model_judges_a_table_with_torch_alone(tmp_path: Path) -> None:
    """As a user's command, whose first array would have Arrow import pandas."""
    data, model = tmp_path / "data.csv", tmp_path / "model.safetensors"
    data.write_text("a,b\n" + "".join(f"{row},{row % 7}\n" for row in range(40)))
    quick = ("--kind", "plain", "--epochs", "1", "--false-alarm-rate", "0.1", "--quiet")
    assert run(["fit", str(data), "-o", str(model), *quick]) == 0
    command = ["hourglass", "detect", str(model), str(data), "--quiet"]
    heavy, scores = heavy_imports(
        f"import os; os._exit = sys.exit; sys.argv = {command}; from hourglass.interfaces.cli import main; main()"
    )
    assert heavy == ["torch"]
    assert len(scores.splitlines()) == 41


def test_frames_of_pandas_are_read_by_a_command_that_left_pandas_out() -> None:
    pytest.importorskip("pandas")
    _, talk = heavy_imports(
        "from hourglass.interfaces.startup import leave_pandas_out; leave_pandas_out()\n"
        "assert 'pandas' not in sys.modules\n"
        "import pandas\n"
        "from hourglass.data.files import from_object\n"
        "times = pandas.to_datetime(['2020-01-01', None])\n"
        "frame = pandas.DataFrame({'a': [1.5, None], 'b': ['x', None], 't': times})\n"
        "print(from_object(frame).table.to_pydict())"
    )
    assert talk == "{'a': [1.5, None], 'b': ['x', None], 't': [datetime.datetime(2020, 1, 1, 0, 0), None]}\n"


def heavy_imports(script: str) -> tuple[list[str], str]:
    """Which heavy packages a fresh interpreter holds once the script is done or has exited well, and its stdout."""
    farewell = f"lambda: print(*{HEAVY} & set(sys.modules), file=sys.stderr)"
    watched = f"import atexit, sys; atexit.register({farewell}); {script}"
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", watched]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    return sorted(done.stderr.splitlines()[-1].split()), done.stdout


# Each rule can fail


def made_up(sources: dict[str, str]) -> Modules:
    """Modules from texts by their path below the package."""
    found = [Module(dotted_name(Path(PACKAGE, path)), f"{PACKAGE}/{path}", text) for path, text in sources.items()]
    return {module.name: module for module in found}


GO = "    def go(self) -> int:\n"
BASE = f"class Base:\n{GO}        return 1\n"
ABSTRACT = f"class Base(ABC):\n    @abstractmethod\n{GO}        'Doc.'\n        return 1\n"
UNWRITTEN = f"class Base:\n{GO}        'Doc.'\n        raise NotImplementedError\n"
LEAF = f"class Leaf(Base):\n{GO}        return 2\n"
BETWEEN = f"class Middle(Base): ...\n{LEAF.replace('Base', 'Middle')}"
BY_MODULE = f"import hourglass.core.model as m\n{LEAF.replace('Base', 'm.Base[int]')}"
BY_FULL_NAME = f"import hourglass.core.model\n{LEAF.replace('Base', 'hourglass.core.model.Base')}"
LONG = "def f() -> None:\n" + "    x = 1\n" * 60
TALKATIVE = "def f() -> None:\n    '''Doc.\n" + "    words\n" * 60 + "    '''"

BROKEN: dict[Rule, list[tuple[dict[str, str], str]]] = {
    layers_are_respected: [
        ({"data/a.py": "import hourglass.core.model"}, "data/a.py:1: data may not import hourglass.core.model"),
        ({"data/a.py": "def f():\n    from ..core import model"}, "data/a.py:2: data may not import hourglass.core"),
        ({"core/n/a.py": "from ...interfaces.cli import main"}, "core may not import hourglass.interfaces.cli"),
        ({"core/__init__.py": "from .. import estimators"}, "core may not import hourglass.estimators"),
        ({"settings.py": "from hourglass.data import x"}, "settings may not import hourglass.data"),
        ({"core/a.py": "from hourglass import load", "__init__.py": ""}, "core may not import hourglass,"),
        ({"core/a.py": "import_module('hourglass.estimators')"}, "core may not import hourglass.estimators"),
        ({"helpers.py": ""}, "hourglass/helpers.py:1: hourglass.helpers belongs to no layer"),
    ],
    no_module_reaches_itself: [
        ({"data/a.py": "from . import b", "data/b.py": "from .a import x"}, "import cycle: hourglass.data."),
        ({"a.py": "import hourglass.b", "b.py": "def f():\n    from . import a"}, "import cycle: "),
        ({"core/__init__.py": "from .a import x", "core/a.py": "from hourglass.core import x"}, "import cycle: "),
    ],
    core_knows_only_tensors: [
        ({"core/a.py": "import torch\nfrom sklearn.base import x"}, "core/a.py:2: core may not import sklearn.base.x"),
        ({"core/a.py": "import pyarrow.csv"}, "core may not import pyarrow.csv"),
        ({"core/a.py": "from safetensors.torch import load"}, "only hourglass.core.checkpoints reads"),
        ({"core/a.py": "open('x')"}, "only hourglass.core.checkpoints opens files"),
    ],
    files_are_short: [({"errors.py": "\n" * 401}, "the file has 401 lines")],
    functions_are_short: [
        ({"errors.py": LONG}, "errors.py:1: f has 61 lines"),
        ({"errors.py": f"class A:\n  async {LONG}"}, "errors.py:2: f has 61 lines"),
    ],
    most_functions_are_tiny: [({"errors.py": "def f():\n" + " x = 1\n" * 8}, "the median function has 9 lines")],
    everything_is_annotated: [
        ({"errors.py": "def f(a, *b, c=1, **d) -> int: ..."}, "f lacks annotations of a, c, b, d"),
        ({"errors.py": "def f(a: int): ..."}, "f lacks annotations of its result"),
        ({"errors.py": "def f(self) -> int: ..."}, "f lacks annotations of self"),
        ({"errors.py": "class A:\n @staticmethod\n def f(a) -> int: ..."}, "errors.py:3: f lacks annotations of a"),
    ],
    loading_runs_no_code: [
        ({"errors.py": "def f():\n    import pickle"}, "errors.py:2: pickle may run"),
        ({"errors.py": "from joblib import load"}, "joblib.load may run"),
        ({"errors.py": "from torch import load"}, "torch.load may run"),
        ({"errors.py": "torch.load(path, weights_only=True)"}, "torch.load may run"),
        ({"errors.py": "x = eval('1')"}, "eval may run"),
        ({"errors.py": "exec('x = 1')"}, "exec may run"),
        ({"errors.py": "np.load(path, allow_pickle=True)"}, "allow_pickle must be False"),
        ({"errors.py": "np.load(path, allow_pickle=trusted)"}, "allow_pickle must be False"),
    ],
    nothing_is_asserted: [({"errors.py": "x = 1\nassert x"}, "errors.py:2: assert vanishes")],
    classes_are_abstract_or_final: [
        ({"errors.py": BASE + LEAF}, "errors.py:5: Leaf.go overrides the concrete one of hourglass.errors.Base"),
        ({"errors.py": BASE + BETWEEN}, "Leaf.go overrides the concrete one of hourglass.errors.Base"),
        ({"core/model.py": BASE, "core/a.py": "from .model import Base\n" + LEAF}, "Leaf.go overrides"),
        ({"core/model.py": BASE, "core/a.py": "from .model import Base as B\n" + LEAF.replace("Base", "B")}, "Leaf.go"),
        ({"core/model.py": BASE, "core/a.py": BY_MODULE}, "Leaf.go overrides"),
        ({"core/model.py": BASE, "core/a.py": BY_FULL_NAME}, "Leaf.go overrides"),
        (
            {
                "core/m.py": BASE,
                "core/__init__.py": "from .m import Base",
                "data/a.py": f"from ..core import Base\n{LEAF}",
            },
            "data/a.py:3: Leaf.go overrides the concrete one of hourglass.core.m.Base",
        ),
    ],
}

KEPT: dict[Rule, list[dict[str, str]]] = {
    layers_are_respected: [
        {"core/a.py": "from ..data import tables\nfrom hourglass.errors import X", "data/__init__.py": ""},
        {"__init__.py": "import hourglass.interfaces", "interfaces/cli.py": "from hourglass import load"},
    ],
    no_module_reaches_itself: [{"__init__.py": "from .errors import X", "errors.py": "from hourglass import y"}],
    core_knows_only_tensors: [
        {"core/checkpoints.py": "import json, safetensors, torch\nopen('x')", "data/a.py": "import pyarrow"}
    ],
    files_are_short: [{"errors.py": "\n" * 400}],
    functions_are_short: [{"errors.py": TALKATIVE}],
    everything_is_annotated: [{"errors.py": "class A:\n def f(self, a: int) -> int:\n  return (lambda x: x)(a)"}],
    loading_runs_no_code: [{"errors.py": "model.eval()\nnp.load(path, allow_pickle=False)"}],
    classes_are_abstract_or_final: [
        {"errors.py": ABSTRACT + LEAF},
        {"errors.py": UNWRITTEN + LEAF},
        {"errors.py": "from torch.nn import Module as Base\n" + LEAF},
    ],
}


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in BROKEN.items() for case in cases])
def test_a_broken_rule_is_noticed(rule: Rule, case: tuple[dict[str, str], str]) -> None:
    sources, complaint = case
    assert complaint in "\n".join(rule(made_up(sources)))


@pytest.mark.parametrize(("rule", "sources"), [(rule, sources) for rule, kept in KEPT.items() for sources in kept])
def test_a_kept_rule_is_silent(rule: Rule, sources: dict[str, str]) -> None:
    assert list(rule(made_up(sources))) == []


def test_a_heavy_import_is_noticed() -> None:
    assert heavy_imports("import scipy")[0] == ["scipy"]

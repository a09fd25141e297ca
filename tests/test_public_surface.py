"""What users can see of reben from outside: names, errors, docstrings, quickness, silence."""

import ast
import builtins
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reben
from reben import errors

SOURCE = Path(reben.__file__).parent
HEAVY = ("torch", "lightning", "timm", "rasterio", "pyarrow", "lmdb", "matplotlib", "numpy")
ERROR_IN_TREE = re.compile(r"(?P<lead>    [\s│├└─]*)(?P<name>\w+Error)\b(?: \((?P<builtin>\w+)\))?")


def run_python(code):
    """Run ``code`` in a fresh interpreter and return what it printed last."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout.splitlines()[-1]


def names_for_type_checkers():
    """Read which name comes from which module under ``if TYPE_CHECKING`` in reben/__init__.py."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    branches = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in branches[0].body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports for alias in node.names}


def error_tree_in_docstring():
    """Read the tree in the docstring of reben.errors: class name -> names of its bases."""
    bases = {}
    above = {}
    for line in errors.__doc__.splitlines():
        match = re.match(
            r"^(?P<lead>[\s│├└─]*)(?P<name>\w+Error)\b(?: \((?P<builtin>\w+)\))?", line
        )
        if match is None or not (match["lead"].startswith("    ")):
            continue
        depth = len(match["lead"]) // 4
        above[depth] = match["name"]
        parent = above[depth - 1] if depth > 1 else "Exception"
        bases[match["name"]] = {parent, *filter(None, [match["builtin"]])}
    return bases


def error_classes():
    return {
        name: thing
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, Exception)
    }


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reben.__all__)
def test_every_public_name_resolves(name):
    assert getattr(reben, name) is not None


def test_lazy_homes_are_what_type_checkers_are_told():
    assert names_for_type_checkers() == reben._HOMES


def test_all_lists_every_lazy_name_and_the_version():
    assert sorted(reben.__all__) == sorted([*reben._HOMES, "__version__"])


def test_dir_lists_the_public_names():
    assert dir(reben) == sorted(reben.__all__)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="Clasifier"):
        _ = reben.Clasifier


def test_a_public_name_is_the_very_object_of_its_home():
    from reben.spec.bands import BandSet

    assert reben.BandSet is BandSet


# Docstrings --------------------------------------------------------------------------------------


def own_docstring(thing):
    """Return the docstring that somebody wrote, not one that a decorator made up or inherited."""
    text = thing.__doc__ or ""
    made_up = inspect.isclass(thing) and text.startswith(f"{thing.__name__}(")
    return "" if made_up else text


@pytest.mark.parametrize("name", reben.__all__)
def test_every_public_class_and_function_has_a_docstring(name):
    thing = getattr(reben, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert own_docstring(thing)


@pytest.mark.parametrize("name", reben.__all__)
def test_every_public_method_and_property_has_a_docstring(name):
    thing = getattr(reben, name)
    members = vars(thing) if inspect.isclass(thing) else {}
    written = {
        member: value
        for member, value in members.items()
        if not member.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod))
    }
    assert [member for member, value in written.items() if not value.__doc__] == []


# Errors ------------------------------------------------------------------------------------------


def test_the_tree_in_the_docstring_draws_every_error_once():
    assert sorted(error_tree_in_docstring()) == sorted(error_classes())


@pytest.mark.parametrize("name", sorted(error_classes()))
def test_an_error_derives_from_what_the_tree_says(name):
    bases = {base.__name__ for base in error_classes()[name].__bases__}

    assert bases == error_tree_in_docstring()[name]


@pytest.mark.parametrize("name", sorted(set(error_classes()) - {"RebenError"}))
def test_an_error_can_be_caught_as_ours_and_as_a_builtin(name):
    error = error_classes()[name]
    fitting = [
        base
        for base in error.__mro__
        if getattr(builtins, base.__name__, None) is base and base not in (Exception, object)
    ]

    assert issubclass(error, errors.RebenError)
    assert any(issubclass(base, Exception) for base in fitting)


@pytest.mark.parametrize("name", sorted(error_classes()))
def test_every_error_has_a_docstring(name):
    assert own_docstring(error_classes()[name])


# Quickness ---------------------------------------------------------------------------------------


def test_importing_reben_imports_no_heavy_package():
    code = f"import sys, reben; print(sorted(set({HEAVY}) & set(sys.modules)))"

    assert run_python(code) == "[]"


def test_help_imports_no_heavy_package():
    code = f"""
import sys
sys.argv = ["reben", "--help"]
try:
    from reben.app.cli import main
    main()
except SystemExit:
    pass
print(sorted(set({HEAVY}) & set(sys.modules)))
"""
    assert run_python(code) == "[]"


# Silence -----------------------------------------------------------------------------------------


def calls_of_print(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def test_nothing_but_the_command_line_prints():
    library = [
        path
        for package in ("reben", "reben_publication")
        for path in (SOURCE.parent / package).rglob("*.py")
        if SOURCE / "app" not in path.parents
    ]

    assert library
    assert [call for path in library for call in calls_of_print(path)] == []

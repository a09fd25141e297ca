"""What users build on stays: public names and their signatures, verbs and flags, artefact paths.

`golden/frozen.json` was written by running this file as a script. Names, parameters and flags may
be added; one that goes, or whose default or position changes, breaks what others have written.
"""

import dataclasses
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import reben

FROZEN = Path(__file__).parent / "golden" / "frozen.json"
ARTEFACTS = (
    "reben.data.preprocess.Preprocess",  # in every mlm.json
    "reben.app.demo.serving.serve",  # in app.py of every Space
    "reben_publication.BigEarthNetv2_0_ImageClassifier.BigEarthNetv2_0_ImageClassifier",  # in cards
)


def describe_parameters(thing):
    """Return name, kind and default of every parameter, or None where there is no signature."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    return [
        [parameter.name, parameter.kind.name, describe_default(parameter.default)]
        for parameter in signature.parameters.values()
    ]


def describe_default(value):
    """Return ``value`` as text that does not say in which module a class lives."""
    if value is inspect.Parameter.empty:
        return None
    return re.sub(r" at 0x[0-9a-f]+|\breben(?:\.\w+)+\.(?=\w)", "", repr(value))


def describe_name(thing):
    """Return what a caller may rely on: the parameters, and for a class its members and fields."""
    if not inspect.isclass(thing):
        return {"parameters": describe_parameters(thing)}
    members = {
        name: describe_parameters(getattr(thing, name)) if callable(getattr(thing, name)) else None
        for name in sorted(set(dir(thing)) - set(dir(base_of(thing))))
        if not name.startswith("_")
    }
    fields = [field.name for field in dataclasses.fields(thing)] if is_data(thing) else []
    return {"parameters": describe_parameters(thing), "members": members, "fields": fields}


def base_of(thing):
    """Return the class of somebody else that ``thing`` derives from: its members are not ours."""
    return next(base for base in thing.__mro__[1:] if not base.__module__.startswith("reben"))


def is_data(thing):
    return dataclasses.is_dataclass(thing)


def describe_verbs():
    """Return the names of every argument of every verb."""
    from reben.app.cli import app

    return {
        verb: sorted(
            {
                name
                for argument in app[verb].assemble_argument_collection(parse_docstring=True)
                for name in argument.names
            }
        )
        for verb in app
        if not verb.startswith("-")
    }


def describe():
    names = {name: describe_name(getattr(reben, name)) for name in reben.__all__}
    return {"names": names, "verbs": describe_verbs(), "artefacts": list(ARTEFACTS)}


@pytest.fixture(scope="module")
def frozen():
    return json.loads(FROZEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def present():
    return json.loads(json.dumps(describe()))


def changed_parameters(before, now):
    """Return what a call written for ``before`` could trip over in ``now``."""
    if before is None or now is None:
        return [] if before == now else [(before, now)]
    by_position = [p for p in before if p[1] in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    moved = [pair for pair in zip(by_position, now, strict=False) if pair[0] != pair[1]]
    gone = [parameter for parameter in before if parameter not in now]
    required = [
        parameter
        for parameter in now
        if parameter[2] is None
        and not parameter[1].startswith("VAR")
        and parameter[0] not in {old[0] for old in before}
    ]
    return [*moved, *gone, *required]


def test_no_public_name_is_gone(frozen, present):
    assert set(frozen["names"]) <= set(present["names"])


@pytest.mark.parametrize("name", reben.__all__)
def test_a_public_name_keeps_its_parameters_members_and_fields(name, frozen, present):
    if name not in frozen["names"]:
        pytest.skip("added since")
    before, now = frozen["names"][name], present["names"][name]

    assert changed_parameters(before["parameters"], now["parameters"]) == []
    assert set(before.get("members", ())) <= set(now.get("members", ()))
    for member, parameters in before.get("members", {}).items():
        assert changed_parameters(parameters, now["members"][member]) == []
    assert now.get("fields", [])[: len(before.get("fields", []))] == before.get("fields", [])


def test_every_verb_keeps_its_flags(frozen, present):
    lost = {
        verb: sorted(set(flags) - set(present["verbs"].get(verb, ())))
        for verb, flags in frozen["verbs"].items()
    }

    assert {verb: flags for verb, flags in lost.items() if flags} == {}


@pytest.mark.parametrize("path", ARTEFACTS)
def test_a_path_in_artefacts_of_users_still_leads_to_its_object(path, frozen):
    module, name = path.rsplit(".", 1)

    assert path in frozen["artefacts"]
    assert callable(getattr(importlib.import_module(module), name))


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(describe(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

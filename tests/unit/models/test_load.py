"""Finding a model: by name, by module:Class, from another package; and the sentence for each that cannot be had."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kehefl.errors import UsageError
from kehefl.models.linear import Linear
from kehefl.models.load import builtin_names, load_model, load_models

MODELS = """
import numpy as np
from kehefl.models.base import Model, Trained

class Mean(Model):
    name = "mean"
    def initialise(self, features, rng):
        return {"bias": np.zeros(1, np.float32)}
    def train(self, parameters, x, y, **settings):
        return Trained({"bias": np.array([y.mean()], np.float32)}, 0.0)
    def predict(self, parameters, x):
        return np.full(len(x), parameters["bias"][0], np.float32)

class Half(Model):
    name = "half"
    def initialise(self, features, rng):
        return {}

class Sized(Mean):
    def __init__(self, units):
        pass

class Nameless(Mean):
    name = None

class Stranger:
    name = "stranger"

number = 3
"""


@pytest.fixture
def my(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the operator's in the working directory, under a name of its own."""
    name = f"my_models_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODELS)
    (tmp_path / f"{name}_broken.py").write_text("import not_there_at_all\n")
    (tmp_path / f"{name}_typo.py").write_text("def\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_the_models_that_ship_are_found_by_name() -> None:
    assert builtin_names() == ("linear",)
    assert all(load_model(name).name == name for name in builtin_names())


def test_a_model_itself_is_handed_through() -> None:
    model = Linear()
    assert load_model(model) is model


def test_ones_own_is_named_by_module_and_class(my: str) -> None:
    assert load_model(f"{my}:Mean").name == "mean"


def test_other_packages_offer_models_by_entry_point(my: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("average", f"{my}:Mean", "kehefl.models")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: offered if group == "kehefl.models" else [])
    assert load_model("average").name == "mean"
    with pytest.raises(UsageError, match=r"Did you mean 'average'.*Known: average, linear"):
        load_model("averag")


def test_models_are_kept_by_the_name_that_runs_use(my: str) -> None:
    own = load_model(f"{my}:Mean")
    models = load_models(["linear", f"{my}:Mean", own])
    assert list(models) == ["linear", f"{my}:Mean", "mean"]
    assert models["mean"] is own


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("liner", "There is no model 'liner'. Did you mean 'linear'"),
        ("", "There is no model ''"),
        ("{my}_nowhere:Mean", r"cannot be imported: there is none\. Start kehefl where .*_nowhere\.py lies"),
        ("{my}_broken:Mean", "cannot be imported .*not_there_at_all"),
        ("{my}_typo:Mean", "cannot be imported .*SyntaxError"),
        (":Mean", "cannot be imported"),
        (".{my}:Mean", "cannot be imported"),
        ("{my}:Maen", "has no model 'Maen'. Did you mean 'Mean'"),
        ("{my}:", "has no model ''"),
        ("{my}:number", "has no model 'number'"),
        ("{my}:Stranger", r"has no model 'Stranger'.*Derive"),
        ("{my}:Half", "cannot be started .*abstract"),
        ("{my}:Sized", "cannot be started .*units"),
        ("{my}:Nameless", "`name`"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(my: str, spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_model(spec.format(my=my))


def test_a_model_object_without_a_name_is_refused_too(my: str) -> None:
    kind = type(load_model(f"{my}:Mean"))
    nameless = type("Nameless", (kind,), {"name": ""})()
    with pytest.raises(UsageError, match="`name`"):
        load_models([nameless])

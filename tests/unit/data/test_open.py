"""From what an operator names to rows, and the sentences for what cannot be meant."""

from pathlib import Path

import pytest

from kehefl.data.open import DataSpec, client_names, dataset_names, describe, open_shard
from kehefl.errors import UsageError


def test_a_data_set_is_described_with_units_and_licence() -> None:
    assert dataset_names() == ("homes",)
    info = describe("homes")
    assert (info.clients, info.rows, info.licence) == (17, 17 * 8735, "MIT")
    assert set(info.units) == {*info.features, info.target}
    shard = open_shard(DataSpec(dataset="homes"))
    assert (shard.features, shard.target, shard.name) == (info.features, info.target, "home-01")
    assert not shard.simulated


def test_an_unknown_data_set_names_the_nearest() -> None:
    for call in (describe, lambda name: client_names(name, 3), lambda name: open_shard(DataSpec(dataset=name))):
        with pytest.raises(UsageError, match="Did you mean 'homes'"):
            call("home")


def test_client_names_are_those_of_the_shards() -> None:
    names = client_names("homes", 20)
    assert open_shard(DataSpec(dataset="homes", client=20, clients=20)).name == names[19]


def test_features_can_be_chosen_and_ordered() -> None:
    whole = open_shard(DataSpec(dataset="homes", client=2))
    some = open_shard(DataSpec(dataset="homes", client=2, features=("temperature", "load_now"), rows=5))
    assert some.x_train.shape == (5, 2)
    assert some.x_train[:, 1].tolist() == whole.x_train[:5, 0].tolist()
    assert some.x_train.flags.c_contiguous


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (DataSpec(), "No data was named"),
        (DataSpec(dataset="homes", sensor="room"), "named twice"),
        (DataSpec(dataset="homes", client=0), "no client 0"),
        (DataSpec(dataset="homes", client=18), "clients=18"),
        (DataSpec(dataset="homes", features=("load_nwo",)), "Did you mean 'load_now'"),
        (DataSpec(dataset="homes", features=("load_now", "load_now")), "named twice"),
        (DataSpec(dataset="homes", target="load_now"), "Leave --target out"),
        (DataSpec(dataset="homes", rows=0), "at least 1"),
        (DataSpec(directory="~no-such-user/x", features=("x",), target="y"), "home directory"),
        (DataSpec(sensor="roam"), "Did you mean 'room'"),
        (DataSpec(sensor="room", features=("co3",)), "Did you mean 'co2'"),
        (DataSpec(sensor="room", history_s=5.0), "two minutes"),
        (DataSpec(sensor="room", features=("co2", "co2")), "named twice"),
    ],
)
def test_what_cannot_be_meant_is_said(spec: DataSpec, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_shard(spec)


def test_a_folder_is_opened_with_its_columns_and_limit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n},{n * 2}\n" for n in range(10)))
    shard = open_shard(DataSpec(directory=str(tmp_path), features=("x",), target="y", rows=2))
    assert shard.y_train.tolist() == [0.0, 2.0]
    assert shard.y_test.tolist() == [16.0, 18.0]

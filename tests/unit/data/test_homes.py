"""The data set `homes`: its rows against its raw columns, its split, and how it is shared among devices."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from kehefl.data import homes
from kehefl.data.homes import MOST_CLIENTS, carbon_intensity, home_names, open_home
from kehefl.data.shard import Shard
from kehefl.errors import UsageError

FOLDER = Path(homes.__file__).parent


def raw() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "homes.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def rows_of(shard: Shard) -> int:
    return len(shard.y_train) + len(shard.y_test)


def rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))


def test_the_shipped_file_is_the_one_its_source_note_describes() -> None:
    packed = (FOLDER / "homes.npz").read_bytes()
    note = (FOLDER / "SOURCE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(packed).hexdigest() in note
    assert f"{len(packed):,} bytes" in note
    assert "Permission is hereby granted" in note


def test_the_first_row_is_hour_one_of_the_third_day_seen_from_midnight() -> None:
    # The source begins at hour 24 of Sunday 31 July, so its index 24 is hour 24 of Monday, 1 August.
    source, shard = raw(), open_home(1)
    load = source["load_01"]
    first = dict(zip(shard.features, shard.x_train[0], strict=True))
    assert source["hour"][24] == 24
    assert shard.y_train[0] == load[25]
    assert [first[f"load_{name}"] for name in ("now", "1h_ago", "2h_ago")] == [load[24], load[23], load[22]]
    assert first["load_same_hour_yesterday"] == load[1]
    assert first["load_day_mean"] == pytest.approx(load[1:25].mean(), rel=1e-6)
    # Hour 1 of 24 is an angle of 15 degrees.
    assert first["hour_sin"] == pytest.approx(0.258819, abs=1e-6)
    assert first["hour_cos"] == pytest.approx(0.965926, abs=1e-6)
    assert first["weekend"] == 0.0
    assert first["temperature"] == source["temperature"][24]
    assert first["radiation"] == source["radiation"][24]


def test_two_days_of_seven_are_a_weekend() -> None:
    shard = open_home(1)
    weekend = np.concatenate([shard.x_train, shard.x_test])[:, shard.features.index("weekend")]
    assert weekend.mean() == pytest.approx(2 / 7, abs=0.005)


def test_every_fifth_day_is_held_out_whole() -> None:
    # Days 2 to 365 hold 73 days 4, 9, ... 364; the last day lacks its 24th hour.
    shard = open_home(5)
    assert (len(shard.y_test), len(shard.y_train)) == (73 * 24, 8735 - 73 * 24)
    load = raw()["load_05"]
    # Index 0 is of day 0; day 4 begins at index 3 * 24 + 1.
    assert shard.y_test[:24].tolist() == load[73:97].tolist()
    assert shard.y_train[48:50].tolist() == load[97:99].tolist()


def test_all_seasons_are_held_out() -> None:
    months = raw()["month"][25:]
    day = (np.arange(25, 8760) + 23) // 24
    assert set(months[day % 5 == 4].tolist()) == set(range(1, 13))


def test_there_are_seventeen_different_homes() -> None:
    assert len({open_home(client).digest() for client in range(1, 18)}) == 17


def test_rows_are_finite_and_plausible() -> None:
    for client in (1, 6, 17):
        shard = open_home(client)
        assert np.isfinite(shard.x_train).all()
        assert shard.y_train.min() >= 0
        assert shard.y_train.max() < 15
    carbon = carbon_intensity()
    assert carbon.shape == (8760,)
    assert 0 < carbon.min() < carbon.max() < 1


def test_least_squares_over_all_homes_beats_saying_the_same_as_now() -> None:
    shards = [open_home(client) for client in range(1, 18)]
    x = np.vstack([np.column_stack([np.ones(len(s.y_train)), s.x_train]) for s in shards]).astype(np.float64)
    weights = np.linalg.lstsq(x, np.concatenate([s.y_train for s in shards]), rcond=None)[0]
    now = np.concatenate([s.x_test[:, s.features.index("load_now")] for s in shards])
    actual = np.concatenate([s.y_test for s in shards])
    fitted = np.vstack([np.column_stack([np.ones(len(s.y_test)), s.x_test]) for s in shards]) @ weights
    assert rmse(fitted, actual) < 0.9 * rmse(now, actual)


def test_names_are_homes_up_to_seventeen_and_parts_of_homes_above() -> None:
    assert home_names(3) == ("home-01", "home-02", "home-03")
    assert home_names(17)[-1] == "home-17"
    assert home_names(20)[0] == "home-01-01"
    assert home_names(20)[19] == "home-03-02"


@pytest.mark.parametrize("clients", [1, 17, 18, 100, 2000, MOST_CLIENTS])
def test_names_are_device_ids_each_once(clients: int) -> None:
    names = home_names(clients)
    assert len(set(names)) == clients
    assert all(re.fullmatch(r"[a-z0-9-]{1,64}", name) for name in names)


@pytest.mark.parametrize("clients", [1, 2, 17, 18, 85, 400, 2000, MOST_CLIENTS])
def test_each_device_is_called_what_was_announced_and_has_rows_of_both_kinds(clients: int) -> None:
    names = home_names(clients)
    for client in {1, min(clients, 17), min(clients, 18), clients // 2 + 1, clients}:
        shard = open_home(client, clients)
        assert shard.name == names[client - 1]
        assert len(shard.y_train) > 0
        assert len(shard.y_test) > 0


@pytest.mark.parametrize("clients", [40, 2000])
def test_the_devices_of_a_home_share_its_rows_without_loss_or_overlap(clients: int) -> None:
    parts = [open_home(client, clients) for client in range(3, clients + 1, 17)]
    assert sum(rows_of(part) for part in parts) == 8735
    rows = np.concatenate([np.column_stack([part.x_train, part.y_train]) for part in parts])
    rest = np.concatenate([np.column_stack([part.x_test, part.y_test]) for part in parts])
    whole = open_home(3)
    everything = np.column_stack(
        [np.vstack([whole.x_train, whole.x_test]), np.concatenate([whole.y_train, whole.y_test])]
    )
    assert sorted(map(bytes, np.concatenate([rows, rest]))) == sorted(map(bytes, everything))


def test_blocks_of_five_days_and_more_hold_out_the_same_days_as_the_whole_home() -> None:
    parts = [open_home(client, 340) for client in range(3, 341, 17)]
    assert np.concatenate([part.y_test for part in parts]).tolist() == open_home(3).y_test.tolist()


@pytest.mark.parametrize(("client", "clients"), [(0, 17), (18, 17), (-1, 17), (41, 40), (1, 0), (1, MOST_CLIENTS + 1)])
def test_a_client_that_is_not_there_is_refused(client: int, clients: int) -> None:
    with pytest.raises(UsageError, match=r"(Choose|Ask for) 1 to"):
        open_home(client, clients)

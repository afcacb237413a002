"""The data set `homes`: its rows against its raw columns, its split, and how it is shared among devices."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from kehefl.data import homes
from kehefl.data.homes import MOST_CLIENTS, carbon_intensity, home_names, open_home
from kehefl.data.shard import Shard
from kehefl.errors import UsageError
from kehefl.protocol.topics import check_id

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


def test_hours_without_a_load_are_as_many_as_the_source_note_says() -> None:
    source = raw()
    note = " ".join((FOLDER / "SOURCE.md").read_text(encoding="utf-8").split())
    resting = {home: int((source[f"load_{home:02d}"] < 1e-6).sum()) for home in range(1, 18)}
    assert sum(count > 0 for count in resting.values()) == 12
    for home, count in resting.items():
        assert count == 0 or f"{count} of home {home}" in note
    night = source["radiation"] == 0
    assert (source["load_12"][night] < 1e-6).mean() > 0.95


def hours_of(client: int, rows: np.ndarray, targets: np.ndarray) -> list[int]:
    """Indices in the source of the hours that rows predict, found by the loads around them and the weather."""
    source = raw()
    load, temperature = source[f"load_{client:02d}"], source["temperature"]
    seen = ("load_same_hour_yesterday", "load_2h_ago", "load_1h_ago", "load_now", "temperature")
    place = {
        (
            *load[[hour - 24, hour - 3, hour - 2, hour - 1]].tolist(),
            float(temperature[hour - 1]),
            float(load[hour]),
        ): hour
        for hour in range(25, 8760)
    }
    assert len(place) == 8735, "the hours of this home cannot be told apart by these columns"
    columns = rows[:, [homes.FEATURES.index(name) for name in seen]].tolist()
    return [place[(*row, target)] for row, target in zip(columns, targets.tolist(), strict=True)]


def test_each_hour_is_predicted_once_either_in_training_or_in_testing_and_all_months_are_in_both() -> None:
    shard = open_home(3)
    trained, tested = hours_of(3, shard.x_train, shard.y_train), hours_of(3, shard.x_test, shard.y_test)
    assert sorted(trained + tested) == list(range(25, 8760))
    month = raw()["month"]
    for hours in (trained, tested):
        assert hours == sorted(hours)
        assert set(month[hours].tolist()) == set(range(1, 13))


def test_there_are_seventeen_different_homes() -> None:
    assert len({open_home(client).digest() for client in range(1, 18)}) == 17


def test_a_digest_is_the_same_tomorrow() -> None:
    # Recorded runs are told apart by it: rows that change under their name need a new name.
    assert open_home(1).digest() == "bb8ad889e8ada15b4559cb1809e4f015aa8c2b3e587df6d72b1cb28e521e750e"


def test_rows_are_finite_and_plausible() -> None:
    for client in (1, 6, 17):
        shard = open_home(client)
        assert np.isfinite(shard.x_train).all()
        assert shard.y_train.min() >= 0
        assert shard.y_train.max() < 15
    carbon = carbon_intensity()
    assert carbon.shape == (8760,)
    assert 0 < carbon.min() < carbon.max() < 1


def test_least_squares_over_all_homes_beats_saying_the_same_as_now_or_as_yesterday() -> None:
    shards = [open_home(client) for client in range(1, 18)]
    x = np.vstack([np.column_stack([np.ones(len(s.y_train)), s.x_train]) for s in shards]).astype(np.float64)
    weights = np.linalg.lstsq(x, np.concatenate([s.y_train for s in shards]), rcond=None)[0]
    seen = np.vstack([s.x_test for s in shards])
    now, yesterday = (seen[:, homes.FEATURES.index(name)] for name in ("load_now", "load_same_hour_yesterday"))
    actual = np.concatenate([s.y_test for s in shards])
    fitted = np.vstack([np.column_stack([np.ones(len(s.y_test)), s.x_test]) for s in shards]) @ weights
    # RMSE 0.707 kWh against 0.809 and 1.007, MAE 0.455 against 0.469 and 0.604.
    assert rmse(fitted, actual) < 0.9 * rmse(now, actual)
    assert rmse(fitted, actual) < 0.75 * rmse(yesterday, actual)
    assert np.abs(fitted - actual).mean() < np.abs(now - actual).mean()


def test_names_are_homes_up_to_seventeen_and_parts_of_homes_above() -> None:
    assert home_names(3) == ("home-01", "home-02", "home-03")
    assert home_names(17)[-1] == "home-17"
    assert home_names(20)[0] == "home-01-01"
    assert home_names(20)[19] == "home-03-02"


@pytest.mark.parametrize("clients", [1, 17, 18, 1000, MOST_CLIENTS])
def test_names_are_device_ids_each_once(clients: int) -> None:
    names = home_names(clients)
    assert len(set(names)) == clients
    assert [check_id(name) for name in names] == list(names)


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

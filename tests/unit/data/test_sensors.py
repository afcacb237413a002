"""Sensors: the simulated room, the SCD30 on a make-believe bus, and one's own."""

import math
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from kehefl.data.open import DataSpec, open_shard
from kehefl.data.sensors import Sensor, load_sensor, sensor_names, simulated_shard, simulates
from kehefl.data.sensors import scd30 as scd30_module
from kehefl.data.sensors.room import Room, co2_change, saturation_gm3, simulate
from kehefl.errors import DataError, UsageError

ATTIC = """
class Attic:
    name = "attic"
    columns = ("temperature",)
    def read(self):
        return {"temperature": 21.5}

class Awaited(Attic):
    async def read(self):
        return {"temperature": 20.5}

class Past(Attic):
    name = "past"
    columns = ("co2", "temperature")
    simulated = True
    def __init__(self, seed=0):
        self.seed = seed
    def history(self, rows, interval_s):
        return ((float(n), self.seed + n * interval_s) for n in range(rows))

class Torn(Past):
    def history(self, rows, interval_s):
        return [[1.0, float("nan")]] * rows

class Ragged(Past):
    def history(self, rows, interval_s):
        return [[1.0], [1.0, 2.0]]

class Mute:
    name = "mute"
    columns = ("temperature",)

class OneColumn(Attic):
    columns = ("temperature")

class Doubled(Attic):
    columns = ("timestamp",)

class Nameless(Attic):
    name = None

class Needy(Attic):
    def __init__(self, pin):
        pass

class Unplugged(Attic):
    def __init__(self):
        raise OSError("no bus")

reading = 3
"""


@pytest.fixture
def my(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the operator's in the working directory, under a name of its own."""
    name = f"my_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(ATTIC)
    (tmp_path / f"{name}_broken.py").write_text("import not_there_at_all\n")
    (tmp_path / f"{name}_typo.py").write_text("def\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_a_room_says_that_it_is_simulated_and_reads_its_columns() -> None:
    room = load_sensor("room")
    assert isinstance(room, Sensor)
    assert simulates(room)
    assert set(room.read()) == set(room.columns) == {"co2", "temperature", "humidity"}  # type: ignore[arg-type]


def test_readings_go_on_through_the_history_minute_by_minute() -> None:
    room = Room(seed=4)
    read = [room.read() for _ in range(3)]
    assert [[row[name] for name in room.columns] for row in read] == simulate(4, 7 * 1440)[:3].tolist()


def test_a_history_at_a_longer_interval_is_every_so_manyth_minute() -> None:
    assert Room(1).history(5, 120.0).tolist() == simulate(1, 10)[::2].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_rooms_are_plausible(seed: int) -> None:
    lowest, highest = simulate(seed, 7 * 1440).min(axis=0), simulate(seed, 7 * 1440).max(axis=0)
    assert (lowest >= (400, 15, 20)).all()
    assert (highest <= (2000, 30, 75)).all()
    # People come and go: the air is not always the same.
    assert highest[0] - lowest[0] > 100


def test_rooms_are_the_same_for_a_seed_and_differ_by_it() -> None:
    assert np.array_equal(simulate(7, 500), simulate(7, 500))
    assert not np.array_equal(simulate(7, 500), simulate(8, 500))


def test_saturation_is_what_tables_say() -> None:
    # Air of 20 degC holds 17.3 g/m3 of water, air of 0 degC 4.85.
    assert saturation_gm3(np.array([20.0, 0.0])) == pytest.approx([17.3, 4.85], rel=0.005)


def test_co2_of_a_room_comes_to_its_steady_state_by_the_time_constant() -> None:
    # Two people, 60 m3, 30 m3/h: C = 420 + 1e6 * 2 * 0.018 / 30 = 1620 ppm, V / Q = 2 h.
    level = [420.0]
    for _ in range(40 * 60):
        level.append(level[-1] + co2_change(level[-1], 2, 30.0, 60.0) / 60)
    assert level[-1] == pytest.approx(1620.0, abs=0.01)
    assert co2_change(1620.0, 2, 30.0, 60.0) == pytest.approx(0.0, abs=1e-9)
    # After one time constant 1 - 1/e of the way is done.
    assert level[120] == pytest.approx(420 + 1200 * (1 - math.exp(-1)), rel=0.005)


def test_an_empty_room_comes_to_the_air_outside() -> None:
    assert co2_change(420.0, 0, 30.0, 60.0) == 0.0
    assert co2_change(1000.0, 0, 30.0, 60.0) == -290.0


def test_a_room_gives_a_week_of_rows() -> None:
    shard = open_shard(DataSpec(sensor="room", seed=3))
    assert (shard.name, shard.source, shard.simulated) == ("room", "room", True)
    assert (shard.features, shard.target) == (("co2", "humidity"), "temperature")
    assert (len(shard.y_train), len(shard.y_test)) == (8064, 2016)
    assert shard.x_train.flags.c_contiguous
    assert open_shard(DataSpec(sensor="room", seed=3)).digest() == shard.digest()
    assert open_shard(DataSpec(sensor="room", seed=4)).digest() != shard.digest()


def test_history_features_and_target_can_be_chosen() -> None:
    shard = open_shard(DataSpec(sensor="room", target="co2", history_s=6000.0))
    assert (shard.features, shard.target, len(shard.y_train), len(shard.y_test)) == (("humidity",), "co2", 80, 20)


async def test_ones_own_is_named_by_module_and_class(my: str) -> None:
    attic = load_sensor(f"{my}:Attic")
    assert attic.read() == {"temperature": 21.5}
    assert not simulates(attic)
    assert await load_sensor(f"{my}:Awaited").read() == {"temperature": 20.5}  # type: ignore[misc]


def test_ones_own_may_bring_a_past_of_its_own(my: str) -> None:
    shard = simulated_shard(f"{my}:Past", ("co2",), "temperature", seed=5, history_s=600.0)
    assert (shard.source, shard.simulated) == ("past", True)
    assert shard.x_train[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert shard.y_test.tolist() == [5 + 8 * 60, 5 + 9 * 60]


@pytest.mark.parametrize("kind", ["Torn", "Ragged"])
def test_a_past_that_is_not_rows_of_numbers_is_refused(my: str, kind: str) -> None:
    with pytest.raises(DataError, match="Mend its class"):
        simulated_shard(f"{my}:{kind}", ("co2",), "temperature")


def test_a_real_sensor_has_no_past(my: str) -> None:
    with pytest.raises(UsageError, match="Record it into a folder"):
        open_shard(DataSpec(sensor=f"{my}:Attic"))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("{my}_nowhere:Attic", "cannot be imported: there is none"),
        ("{my}.inner:Attic", "cannot be imported|cannot be imported: there is none"),
        ("{my}_broken:Attic", "not_there_at_all"),
        ("{my}_typo:Attic", "SyntaxError"),
        (":Attic", "cannot be imported"),
        ("{my}:Atic", "has no sensor 'Atic'. Did you mean 'Attic'"),
        ("{my}:", "has no sensor"),
        ("{my}:reading", "has no sensor 'reading'"),
        ("{my}:Mute", r"is not a sensor: it has no `read\(\)`"),
        ("{my}:OneColumn", "`columns` is no tuple"),
        ("{my}:Doubled", "'timestamp'"),
        ("{my}:Nameless", "`name` is no text"),
        ("{my}:Needy", "cannot be started .*pin"),
        ("{my}:Unplugged", "cannot be started .*no bus"),
        ("rom", "There is no sensor 'rom'. Did you mean 'room'"),
    ],
)
def test_what_is_wrong_with_ones_own_is_said(my: str, place: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_sensor(place.format(my=my))


def test_other_packages_offer_sensors_by_entry_point(my: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("loft", f"{my}:Attic", "kehefl.sensors")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: offered if group == "kehefl.sensors" else [])
    assert sensor_names() == ("room", "scd30", "loft")
    assert load_sensor("loft").name == "attic"


def bus(monkeypatch: pytest.MonkeyPatch, **driver: object) -> None:
    made = SimpleNamespace(**driver)
    for name, values in {
        "adafruit_scd30": {"SCD30": lambda i2c: made},
        "board": {"SCL": 1, "SDA": 2},
        "busio": {"I2C": lambda clock, data: (clock, data)},
    }.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)


def test_an_scd30_is_read_in_the_columns_of_kehe_fl(monkeypatch: pytest.MonkeyPatch) -> None:
    bus(monkeypatch, data_available=1, CO2=612.5, temperature=21.25, relative_humidity=45)
    sensor = load_sensor("scd30")
    assert not simulates(sensor)
    assert sensor.read() == {"co2": 612.5, "temperature": 21.25, "humidity": 45.0}


def test_an_scd30_that_does_not_answer_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    bus(monkeypatch, data_available=0)
    monkeypatch.setattr(scd30_module, "READY_WITHIN_S", -1.0)
    with pytest.raises(OSError, match="Check its wiring"):
        load_sensor("scd30").read()


def test_a_wrong_checksum_of_an_scd30_is_an_oserror_and_ends_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy:
        @property
        def data_available(self) -> int:
            raise RuntimeError("CRC check failed")

    bus(monkeypatch)
    monkeypatch.setattr(sys.modules["adafruit_scd30"], "SCD30", lambda i2c: Noisy())
    with pytest.raises(OSError, match="CRC"):
        load_sensor("scd30").read()


def test_an_scd30_without_its_driver_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adafruit_scd30", None)
    with pytest.raises(UsageError, match=r"pip install 'kehefl\[sensors\]'"):
        load_sensor("scd30")

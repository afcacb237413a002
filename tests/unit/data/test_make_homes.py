"""The script that makes `homes.npz`: the same columns give the same bytes, and a stranger's wheel is refused."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "make_homes.py"
SHIPPED = SCRIPT.parents[1] / "kehefl" / "data" / "homes"
WHEEL = os.environ.get("KEHEFL_CITYLEARN_WHEEL", "")


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_homes", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packing_the_shipped_columns_again_changes_none_of_them(script: ModuleType, tmp_path: Path) -> None:
    with np.load(SHIPPED / "homes.npz", allow_pickle=False) as arrays:
        shipped = dict(arrays)
    packed = script.pack(shipped)
    assert packed == script.pack(shipped)
    (tmp_path / "again.npz").write_bytes(packed)
    with np.load(tmp_path / "again.npz", allow_pickle=False) as again:
        assert list(again) == list(shipped)
        assert all(np.array_equal(again[name], shipped[name]) for name in shipped)


@pytest.mark.skipif(not WHEEL, reason="KEHEFL_CITYLEARN_WHEEL does not name the wheel of CityLearn 1.8.0")
def test_the_wheel_of_the_source_gives_the_shipped_bytes(script: ModuleType, tmp_path: Path) -> None:
    script.main(Path(WHEEL), tmp_path)
    for name in ("homes.npz", "SOURCE.md"):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_another_wheel_is_refused_and_nothing_is_written(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"CityLearn 1\.8\.0"):
        script.main(tmp_path / "other.whl", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other.whl"]

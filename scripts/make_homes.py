"""Make the data set `homes` from the wheel of the PyPI package CityLearn 1.8.0.

    pip download --no-deps CityLearn==1.8.0
    python scripts/make_homes.py CityLearn-1.8.0-py3-none-any.whl kehefl/data/homes

Only the raw columns are kept, as float32; features are derived when a home is opened. The same wheel gives the same
bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all"
HOMES = 17
#: A fixed date in the archive's entries, so that the file does not depend on when it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    wheel, out = Path(sys.argv[1]), Path(sys.argv[2])
    with zipfile.ZipFile(wheel) as archive:
        homes = [columns(archive, f"Building_{home}.csv") for home in range(1, HOMES + 1)]
        weather = columns(archive, "weather.csv")
        carbon = columns(archive, "carbon_intensity.csv")
    arrays = {
        "load": np.stack([home["Equipment Electric Power [kWh]"] for home in homes]),
        "hour": homes[0]["Hour"],
        "day_type": homes[0]["Day Type"],
        "month": homes[0]["Month"],
        "temperature": weather["Outdoor Drybulb Temperature [C]"],
        "radiation": weather["Diffuse Solar Radiation [W/m2]"] + weather["Direct Solar Radiation [W/m2]"],
        "carbon": carbon["kg_CO2/kWh"],
    }
    target = out / "homes.npz"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, values in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(values, dtype="<f4"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)
    print(f"{target}: {target.stat().st_size} bytes, sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


def columns(archive: zipfile.ZipFile, name: str) -> dict[str, np.ndarray]:
    with archive.open(f"{FOLDER}/{name}") as file:
        rows = list(csv.reader(io.TextIOWrapper(file, "utf-8-sig")))
    header = [column.strip() for column in rows[0]]
    values = [[float(field) if field.strip() else float("nan") for field in row] for row in rows[1:]]
    return {column: np.array([row[index] for row in values]) for index, column in enumerate(header)}


if __name__ == "__main__":
    main()

"""Make the data set `homes` from the wheel of the PyPI package CityLearn 1.8.0.

    pip download --no-deps CityLearn==1.8.0
    python scripts/make_homes.py CityLearn-1.8.0-py3-none-any.whl

Writes `homes.npz` and `SOURCE.md` into kehefl/data/homes, or into a second argument. Only the raw columns are kept, as
float32; features are derived when a home is opened. The same wheel gives the same bytes (with the same zlib).
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

WHEEL_SHA256 = "cde0cdf53ace908cba41c237335d91bc1434e54deaf6086047e4cf7589c0067b"
FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all"
LICENCE = "CityLearn-1.8.0.dist-info/LICENSE"
HOMES = 17
HOURS = 8760
HOME = Path(__file__).resolve().parent.parent / "kehefl" / "data" / "homes"
#: A fixed date in the archive's entries, so that the file does not depend on when it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)
UNIX = 3

SOURCE = """\
# Data set `homes`

Seventeen real single-family homes of one neighbourhood in Fontana, California, a year of hours each (8760, from
31 July, hour 24), with the weather they share and the carbon intensity of their grid.

Source: the data of the CityLearn Challenge 2022 as shipped in the Python package CityLearn 1.8.0 on PyPI, folder
`{folder}`, by Jose Ramon Vazquez-Canteli, Kingsley Nweye, Zoltan Nagy and the
Intelligent Environments Laboratory; MIT licence, reproduced below. SHA-256 of the wheel:
`{wheel}`.

Kept, as float32, in `homes.npz`, which `scripts/make_homes.py` made ({size:,} bytes, SHA-256
`{digest}`):

| array | shape | unit | column of the source |
|---|---|---|---|
| `load_01` to `load_17` | 8760 | kWh in the hour | `Equipment Electric Power` of `Building_1.csv` to `_17.csv` |
| `hour`, `day_type`, `month` | 8760 | 1..24, 1 (Monday)..7, 1..12 | of `Building_1.csv`; the others have the same |
| `temperature` | 8760 | degC | `Outdoor Drybulb Temperature` of `weather.csv` |
| `radiation` | 8760 | W/m2 | diffuse plus direct solar radiation of `weather.csv` |
| `carbon` | 8760 | kg CO2 per kWh | `carbon_intensity.csv` |

Derived when a home is opened: the load now, one and two hours ago, a day before the coming hour, and its mean over the
last 24 hours; sine and cosine of the coming hour; whether it falls on a weekend; temperature and radiation now. The
target is the load of the coming hour. Every fifth day is held out for testing, so that all seasons are in both parts.

Nothing was cleaned, and two homes are not what the column's name says. Hours with a load below 1e-6 kWh, which the
source writes as about 1e-7 where it has none: 4543 of home 12, 4364 of home 15, 1133 of home 7, 936 of home 14, 262 of
home 6, 155 of home 4, 119 of home 3, 116 of home 5, 21 of home 2, 16 of home 8, 5 of home 10, 1 of home 13. In home 12
they are the nights: its load follows its own solar generation in the source (correlation 0.975), so that it is hardly
a load at all. Home 15 too is at rest by night and not by day. Leave these two out where the shape of a load matters.

## Licence of the source

{licence}
"""


def main(wheel: Path, out: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        sys.exit(f"{wheel} is not the wheel of CityLearn 1.8.0 (SHA-256 {WHEEL_SHA256}). Download that one.")
    with zipfile.ZipFile(wheel) as archive:
        arrays = arrays_of(archive)
        licence = archive.read(LICENCE).decode("utf-8").replace("\r\n", "\n").strip()
    packed = pack(arrays)
    (out / "homes.npz").write_bytes(packed)
    made = hashlib.sha256(packed).hexdigest()
    text = SOURCE.format(folder=FOLDER, wheel=digest, size=len(packed), digest=made, licence=licence)
    (out / "SOURCE.md").write_text(text, encoding="utf-8", newline="\n")
    print(f"{out / 'homes.npz'}: {len(packed)} bytes, SHA-256 {made}")


def arrays_of(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The columns that are kept, each [8760]."""
    homes = [columns(archive, f"Building_{home}.csv") for home in range(1, HOMES + 1)]
    weather = columns(archive, "weather.csv")
    arrays = {
        **{f"load_{home:02d}": rows["Equipment Electric Power [kWh]"] for home, rows in enumerate(homes, start=1)},
        "hour": homes[0]["Hour"],
        "day_type": homes[0]["Day Type"],
        "month": homes[0]["Month"],
        "temperature": weather["Outdoor Drybulb Temperature [C]"],
        "radiation": weather["Diffuse Solar Radiation [W/m2]"] + weather["Direct Solar Radiation [W/m2]"],
        "carbon": columns(archive, "carbon_intensity.csv")["kg_CO2/kWh"],
    }
    for name, values in arrays.items():
        if values.shape != (HOURS,) or not np.isfinite(values).all():
            sys.exit(f"'{name}' is not {HOURS} numbers; the source has changed.")
    return arrays


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz whose bytes depend on nothing but its content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            entry.create_system = UNIX
            member = io.BytesIO()
            np.save(member, np.ascontiguousarray(values, dtype="<f4"), allow_pickle=False)
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def columns(archive: zipfile.ZipFile, name: str) -> dict[str, np.ndarray]:
    with archive.open(f"{FOLDER}/{name}") as file:
        rows = list(csv.reader(io.TextIOWrapper(file, "utf-8-sig")))
    header = [column.strip() for column in rows[0]]
    values = [[float(field) if field.strip() else float("nan") for field in row] for row in rows[1:]]
    return {column: np.array([row[index] for row in values]) for index, column in enumerate(header)}


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else HOME)

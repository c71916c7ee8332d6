"""Workers forked after loading or training: scoring works, and what cannot work says so instead of waiting forever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

WORKERS = """
import os, signal, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, polars as pl, pyarrow as pa, scipy.sparse
import anyfm
from anyfm.core.errors import ForkedProcessError
from anyfm.estimators import FMClassifier

n, random = 3000, np.random.default_rng(0)
frame = pl.DataFrame({
    "user": [f"u{x}" for x in random.integers(0, 40, n)], "zip": random.integers(0, 50, n),
    "price": random.uniform(1, 99, n), "genres": ["a|b", "c", "b|c"] * (n // 3), "click": random.integers(0, 2, n),
    "when": np.datetime64("2024-01-01", "us") + random.integers(0, 10**7, n).astype("timedelta64[s]"),
})
X, y = frame.drop("click"), frame["click"].to_numpy()
small = dict(search=False, epochs=1)
fields = {"zip": "categorical", "price": "scaled", "genres": "tags", "when": "datetime"}
directory, csv = sys.argv[1] + "/model", sys.argv[1] + "/t.csv"
frame.write_csv(csv)
anyfm.train(frame, "click", fields=fields, **small).save(directory)
model = anyfm.load(directory)
text = sys.argv[1] + "/t.svm"
open(text, "w").write("".join(f"{i % 2} {i % 7}:1\\n" for i in range(3000)))
of_text = anyfm.train(text, **small)
matrix = scipy.sparse.csr_matrix(np.eye(7)[np.arange(700) % 7])
estimator, of_matrix = FMClassifier(**small).fit(X, y), FMClassifier(**small).fit(matrix, np.arange(700) % 2)
expected, by_estimator, text_expected = model.predict(frame), estimator.predict_proba(X), of_text.predict(text)
items = model.items(pl.DataFrame({"zip": [1, 2]}), key="zip")
row = {name: str(value) for name, value in frame.row(0, named=True).items()}
context = {name: value for name, value in row.items() if name != "zip"}
tables = {"polars": frame, "pandas": frame.to_pandas(), "Arrow": frame.to_arrow(),
          "nullable": frame.to_pandas().convert_dtypes(), "mapping": frame.to_dict(as_series=False),
          "rows": frame.to_dicts()}
rows = model.rows(frame)

def same(found, wanted):
    assert np.array_equal(found, wanted), (found, wanted)

works = {
    **{f"predict {name}": (lambda table=table: same(model.predict(table), expected)) for name, table in tables.items()},
    "predict Rows": lambda: same(model.predict(rows), expected),
    "predict_one": lambda: abs(model.predict_one(row) - expected[0]) < 1e-6 or 1 / 0,
    "predict_ids": lambda: of_text.predict_ids([1]),
    "predict text": lambda: same(of_text.predict(text), text_expected),
    "estimator": lambda: same(estimator.predict_proba(X), by_estimator),
    "estimator of a matrix": lambda: of_matrix.predict_proba(matrix),
    "train text": lambda: anyfm.train(text, **small),
    "fit matrix": lambda: FMClassifier(**small).fit(matrix, np.arange(700) % 2),
    "evaluate Rows": lambda: model.evaluate(rows.labelled(y.astype(np.float32))),
    "explain Rows": lambda: model.explain(rows.slice(0, 5)),
    "recommend": lambda: model.recommend(context, items, 2),
    "save text": lambda: of_text.save(sys.argv[1] + "/of_text"),
}
refused = {
    "predict file": lambda: model.predict(csv), "load": lambda: anyfm.load(directory),
    "train": lambda: anyfm.train(frame, "click", **small), "train file": lambda: anyfm.train(csv, "click", **small),
    "fit": lambda: FMClassifier(**small).fit(X, y), "evaluate": lambda: model.evaluate(frame),
    "explain": lambda: model.explain(frame), "summarize": lambda: model.summarize(frame),
    "report": lambda: model.report(frame, sys.argv[1] + "/r.html"), "save": lambda: model.save(sys.argv[1] + "/n"),
    "items": lambda: model.items(X, key="user"), "recommend_all": lambda: model.recommend_all(frame, items),
}

def in_child(call, wanted):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        except ForkedProcessError:
            status = 2
        except BaseException as error:
            print(repr(error)[:300], flush=True)
        os._exit(status)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "" if os.waitstatus_to_exitcode(status) == wanted else f"exit {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"

faults = {name: in_child(call, wanted) for calls, wanted in ((works, 0), (refused, 2)) for name, call in calls.items()}
print({name: fault for name, fault in faults.items() if fault})
"""


def test_every_public_call_in_a_forked_worker(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, tmp_path], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.stdout.strip() == "{}", done.stdout + done.stderr[-2000:]


def test_a_worker_forked_before_polars_has_threads_does_everything(tmp_path):
    script = WORKERS.partition("n, random")[0] + (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    frame = pl.DataFrame({'a': ['x', 'y'] * 500, 'click': [0, 1] * 500})\n"
        "    anyfm.train(frame, 'click', search=False, epochs=1).save(sys.argv[1] + '/m')\n"
        "    anyfm.load(sys.argv[1] + '/m').predict(frame)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]

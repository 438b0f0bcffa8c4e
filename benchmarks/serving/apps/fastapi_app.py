"""The handler that most teams write: pydantic in, a data frame, predict and predict_proba."""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel


class Row(BaseModel):
    """The inputs of one row."""

    number_00: float
    number_01: float
    number_02: float
    number_03: float
    number_04: float
    number_05: float
    number_06: float
    number_07: float
    number_08: float
    number_09: float
    number_10: float
    number_11: float
    category_0: str
    category_1: str
    category_2: str
    category_3: str
    category_4: str
    category_5: str
    category_6: str
    category_7: str


class Rows(BaseModel):
    """A request."""

    records: list[Row]


app = FastAPI()
model = joblib.load(os.environ["BENCHMARK_MODEL"])


@app.post("/predict")
async def predict(request: Rows) -> dict[str, Any]:
    """Score the rows."""
    frame = pd.DataFrame([row.model_dump() for row in request.records])
    labels = model.predict(frame)
    probabilities = model.predict_proba(frame)[:, 1]
    return {
        "predictions": [
            {"prediction": int(label), "probability": float(probability)}
            for label, probability in zip(labels, probabilities, strict=True)
        ]
    }

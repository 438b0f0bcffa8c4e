"""The answer of our own protocol."""

from typing import Any

import orjson

from serving.answers import Answer
from serving.predicted import Predicted


def render(predicted: Predicted) -> Answer:
    """The predictions in the order of the records.

    `variant` is there where it is not the champion's answer; where several versions answered,
    each prediction names its own.
    """
    classes = predicted.contract.classes
    predictions = [
        _one(prediction_id, output, classes)
        for prediction_id, output in zip(predicted.ids, predicted.outputs, strict=True)
    ]
    for one, (version, variant) in zip(predictions, predicted.rows, strict=False):
        one.update(version=version, variant=variant)
    body: dict[str, Any] = {
        "model": predicted.contract.model,
        "version": predicted.version,
        "request_id": predicted.request_id,
        "predictions": predictions,
    }
    if predicted.variant != "champion":
        body["variant"] = predicted.variant
    return Answer(200, orjson.dumps(body))


def _one(prediction_id: str, output: list[float], classes: tuple[str, ...]) -> dict[str, Any]:
    if not classes:
        return {"prediction_id": prediction_id, "prediction": output[0]}
    return {
        "prediction_id": prediction_id,
        # index() finds the first of equals: ties go to the lower class, here as everywhere.
        "prediction": classes[output.index(max(output))],
        "probability": dict(zip(classes, output, strict=True)),
    }

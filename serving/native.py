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
    predictions = _predictions(predicted)
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


def _predictions(predicted: Predicted) -> list[dict[str, Any]]:
    classes = predicted.contract.classes
    answered = zip(predicted.ids, predicted.lists, strict=True)
    if not classes:
        return [{"prediction_id": name, "prediction": output[0]} for name, output in answered]
    if len(classes) == 2:
        # A tie goes to the lower class, here as everywhere.
        no, yes = classes
        return [
            {
                "prediction_id": name,
                "prediction": yes if second > first else no,
                "probability": {no: first, yes: second},
            }
            for name, (first, second) in answered
        ]
    return [
        {
            "prediction_id": name,
            # index() finds the first of equals.
            "prediction": classes[output.index(max(output))],
            "probability": dict(zip(classes, output, strict=True)),
        }
        for name, output in answered
    ]

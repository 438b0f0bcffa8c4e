"""The answer of our own protocol."""

from typing import Any

import numpy as np
import orjson

from serving.answer_rows import answer_rows
from serving.answers import Answer
from serving.predicted import Predicted

# From here on, putting the text together costs half of what a dict for each row does.
MANY = 64


def render(predicted: Predicted) -> Answer:
    """The predictions in the order of the records.

    `variant` is there where it is not the champion's answer; where several versions answered,
    each prediction names its own.
    """
    many = len(predicted.outputs) >= MANY and not predicted.rows
    body: dict[str, Any] = {
        "model": predicted.contract.model,
        "version": predicted.version,
        "request_id": predicted.request_id,
        "predictions": orjson.Fragment(_text(predicted)) if many else _predictions(predicted),
    }
    if predicted.variant != "champion":
        body["variant"] = predicted.variant
    return Answer(200, orjson.dumps(body))


def _predictions(predicted: Predicted) -> list[dict[str, Any]]:
    predictions = _by_row(predicted)
    for one, (version, variant) in zip(predictions, predicted.rows, strict=False):
        one.update(version=version, variant=variant)
    return predictions


def _by_row(predicted: Predicted) -> list[dict[str, Any]]:
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


def _text(predicted: Predicted) -> bytes:
    """What orjson would make of the predictions."""
    classes, outputs = predicted.contract.classes, np.asarray(predicted.outputs, dtype=np.float64)
    numbers = orjson.dumps(outputs.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
    start = b'{"prediction_id":"%b-' % predicted.stem.encode()
    if not classes:
        first = np.zeros(len(outputs), dtype=np.intp)
        return answer_rows(start, numbers, [b'","prediction":'], first, [], b"}")
    names = [orjson.dumps(name) for name in classes]
    texts = [b'","prediction":%b,"probability":{%b:' % (name, names[0]) for name in names]
    # argmax finds the first of equals: ties go to the lower class, here as everywhere.
    likeliest = outputs.argmax(axis=1)
    return answer_rows(start, numbers, texts, likeliest, [b",%b:" % n for n in names[1:]], b"}}")

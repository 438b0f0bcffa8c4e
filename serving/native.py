"""The answer of our own protocol."""

from functools import lru_cache
from typing import Any

import numpy as np
import orjson

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
    """What orjson would make of the predictions, from pieces that are the same in every row."""
    classes, outputs = predicted.contract.classes, np.asarray(predicted.outputs, dtype=np.float64)
    rows, width = outputs.shape
    numbers = orjson.dumps(outputs.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    start, end = b'{"prediction_id":"%b-' % predicted.stem.encode(), b"}}" if classes else b"}"
    between = b"%b,%b" % (end, start)
    if not classes:
        pieces = [between, b"", b'","prediction":', b""] * rows
        pieces[3::4] = numbers
    else:
        # argmax finds the first of equals: ties go to the lower class, here as everywhere.
        names = [orjson.dumps(name) for name in classes]
        texts = [b'","prediction":%b,"probability":{%b:' % (name, names[0]) for name in names]
        likeliest = np.array(texts, dtype=object)[outputs.argmax(axis=1)]
        more = [piece for name in names[1:] for piece in (b",%b:" % name, b"")]
        pieces = [between, b"", b"", b"", *more] * rows
        count = 4 + len(more)
        pieces[2::count] = likeliest.tolist()
        for place in range(width):
            pieces[3 + 2 * place :: count] = numbers[place::width]
    pieces[1 :: len(pieces) // rows] = _numerals(1 << (rows - 1).bit_length())[:rows]
    pieces[0] = b"[" + start
    pieces += end, b"]"
    return b"".join(pieces)


@lru_cache(maxsize=16)
def _numerals(count: int) -> list[bytes]:
    """The texts `0`, `1`, …; of a power of two, so that few are kept whatever clients send."""
    return [b"%d" % number for number in range(count)]

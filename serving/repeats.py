"""The same request id gets the same answer: what this process answered lately, by request id."""

import hashlib
import threading
from collections import OrderedDict

from serving.answers import Answer, Refusal

# A client repeats a request seconds later, not hours: the newest ones are enough.
MAX_ANSWERS = 20_000
MAX_BYTES = 64 * 1024 * 1024


class Repeats:
    """Answers by model and request id; forgets the oldest. Safe to share by threads.

    Another process that gets the repeated request answers anew, under the same prediction ids,
    of which the ingestion keeps one.
    """

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_answers, self._max_bytes = max_answers, max_bytes
        self._answers: OrderedDict[tuple[str, str], tuple[bytes, Answer]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, model: str, request_id: str, body: bytes) -> Answer | None:
        """The answer that this request got before.

        Raises Refusal (409) when the id was used for another body.
        """
        with self._lock:
            found = self._answers.get((model, request_id))
        if found is None:
            return None
        if found[0] != _digest(body):
            raise Refusal(
                409, "request_id", "was used for another request: give each request its own id"
            )
        return found[1]

    def remember(self, model: str, request_id: str, body: bytes, answer: Answer) -> None:
        """Keep an answer."""
        with self._lock:
            key = (model, request_id)
            before = self._answers.pop(key, None)
            self._bytes += len(answer.body) - (len(before[1].body) if before else 0)
            self._answers[key] = (_digest(body), answer)
            while len(self._answers) > self._max_answers or self._bytes > self._max_bytes:
                _, (_, oldest) = self._answers.popitem(last=False)
                self._bytes -= len(oldest.body)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()

"""HTTP answers, and the errors that become one."""

from dataclasses import dataclass, field

import orjson

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, by default with a JSON body."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": JSON})


class Refusal(Exception):  # noqa: N818 - it is an answer, which travels up the stack
    """A request that gets no prediction: status, the part at fault, what to do about it."""

    def __init__(self, status: int, where: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.where, self.message = status, where, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self, open_inference: bool = False) -> Answer:
        """The answer in our shape, or in that of the Open Inference Protocol."""
        error: object = {"field": self.where, "message": self.message}
        if open_inference:
            error = f"{self.where}: {self.message}"
        body = orjson.dumps({"error": error})
        return Answer(self.status, body, {"content-type": JSON, **self.headers})

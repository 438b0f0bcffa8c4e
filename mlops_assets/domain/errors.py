"""The errors of this project: each names the thing, its value, the limit and the fix."""


class MlopsError(Exception):
    """Base of every error that this project raises on purpose."""


class SpecError(MlopsError):
    """A defs.yaml says something impossible."""


class SourceError(MlopsError):
    """A source is away, or is not what the spec says it is."""


class SourceAwayError(SourceError):
    """A source does not answer, or not in time; asking again later may help."""


class UnusableColumnError(SourceError):
    """A source's column holds what no row of the lake can; `column` is its name."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class NoTimesError(SourceError):
    """A source's event time column holds something else than times."""


class DataError(MlopsError):
    """Rows cannot be used for what was asked of them."""


class NoKeyError(DataError):
    """No column of a table tells its rows apart."""


class BundleError(MlopsError):
    """A serving bundle is missing, damaged or not trusted."""


class RequestError(MlopsError):
    """A prediction request breaks the contract; `field` names the offending part."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class StoreAwayError(MlopsError):
    """The online store does not answer, or has nothing of what is asked for."""


class PastFunctionError(MlopsError):
    """A function of the project that computes an input is not there, has changed, or fails."""


class ReleaseError(MlopsError):
    """A release was refused: gates, approval or a concurrent move of the alias."""


class NotTrainableError(MlopsError):
    """There is not enough labelled history to train on."""


class ServiceError(MlopsError):
    """A service did not start, ended by itself, or is not running."""

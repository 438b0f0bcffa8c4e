"""From a bundle on disk to a version that can answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.errors import BundleError, DataError
from mlops_assets.domain.profile import Profile
from mlops_assets.stores.bundles import OnnxScorer, Scorer, load_scorer
from serving import memory
from serving.batching import BatchingScorer
from serving.pointer import Bundle
from serving.protocols.exchange import Parsers
from serving.single import SingleRecordReader


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to answer.

    `onnx` and `reader` are set where single records take the short way. `known` holds, by input,
    the categories that the version's reference data had.
    """

    version: str
    path: str
    scorer: Scorer
    parsers: Parsers
    known: Mapping[str, frozenset[str]]
    onnx: OnnxScorer | None = None
    reader: SingleRecordReader | None = None

    @property
    def contract(self) -> Contract:
        """Inputs and outputs of the version."""
        return self.scorer.contract


def load(bundle: Bundle) -> LoadedModel:
    """Verify, load and warm up one bundle; raises BundleError when it cannot serve."""
    folder = Path(bundle.path)
    memory.require_room(folder)
    try:
        scorer = load_scorer(folder, bulk=True)
    finally:
        memory.give_back()
    warm_up(scorer)
    known = _known_categories(folder)
    onnx = scorer if isinstance(scorer, OnnxScorer) and scorer.takes_records else None
    return LoadedModel(
        version=bundle.version,
        path=bundle.path,
        # A pipeline that did not compile costs milliseconds per call, whatever the rows.
        scorer=scorer if isinstance(scorer, OnnxScorer) else BatchingScorer(scorer),
        parsers=Parsers.of(scorer.contract, known),
        known=known,
        onnx=onnx,
        reader=SingleRecordReader(scorer.contract) if onnx else None,
    )


def _known_categories(folder: Path) -> dict[str, frozenset[str]]:
    """The categories of the reference profile; a bundle without one counts no unknown ones."""
    path = folder / "reference.json"
    if not path.is_file():
        return {}
    try:
        columns = Profile.from_json(path.read_bytes()).columns
    except DataError:
        return {}
    # A missing value is no unknown one.
    return {
        name: frozenset(one.levels) | {MISSING_CATEGORY}
        for name, one in columns.items()
        if one.levels
    }


def warm_up(scorer: Scorer) -> None:
    """Score one synthetic row, so that the first client waits for nothing.

    Raises BundleError when the model cannot score it, or answers in another shape than its
    contract says.
    """
    contract = scorer.contract
    try:
        output = scorer.score(synthetic_row(contract))
    except Exception as error:  # whatever a scorer raises, it cannot serve
        raise BundleError(
            f"{contract.model} cannot score a row of its contract: {error}"
        ) from error
    expected = (1, len(contract.classes) or 1)
    if output.shape != expected:
        raise BundleError(
            f"{contract.model} answers in shape {output.shape}, its contract says {expected}."
        )


def synthetic_row(contract: Contract) -> dict[str, np.ndarray]:
    """One row of zeros and missing categories, as float64 and object arrays of shape (1,)."""
    return {
        column.name: np.array([MISSING_CATEGORY], dtype=object)
        if column.type == "category"
        else np.zeros(1)
        for column in contract.columns
    }

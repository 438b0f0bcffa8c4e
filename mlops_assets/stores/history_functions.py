"""Functions of a project's features.py that compute inputs from an entity's past.

Code comes from the project that is deployed, never from a bundle: a bundle's contract names a
function and the sha256 that its file had, and nothing is run unless the file has it still. So a
version gets the function that it was trained with, or none.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.errors import PastFunctionError
from mlops_assets.domain.past_functions import PastFunction
from mlops_assets.stores.model_folders import model_folders

FILE = "features.py"


def load_function(folder: Path, rule: HistoryRule) -> PastFunction:
    """The function of a rule, if features.py in `folder` is what it was for the rule.

    Raises PastFunctionError where it is not there, has changed, or cannot be imported.
    """
    source = source_of(folder)
    if hashlib.sha256(source).hexdigest() != rule.digest:
        raise PastFunctionError(
            f"{FILE} is not what it was when {rule.name} was computed for training, so "
            f"{rule.function}() may be another function and is not used: put the file back, or "
            "train a version with the new one"
        )
    return _of_source(source, folder / FILE, rule)


@dataclass
class HistoryFunctions:
    """The functions of all models below `models_dir`. Safe to share by threads.

    What was loaded once stays, so that versions before and after a change are served together.
    """

    models_dir: Path | None
    _loaded: dict[tuple[str, str, str], PastFunction] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def find(self, model: str, rule: HistoryRule) -> PastFunction | None:
        """The function of a model's rule, None for a rule without; raises as load_function."""
        if not rule.function:
            return None
        wanted = (model, rule.function, rule.digest)
        if wanted not in self._loaded:
            with self._loading:
                self._loaded[wanted] = load_function(self._folder(model), rule)
        return self._loaded[wanted]

    def _folder(self, model: str) -> Path:
        found = model_folders(self.models_dir) if self.models_dir else {}
        if model not in found:
            raise PastFunctionError(
                f"this replica has no folder of {model} with its {FILE}: deploy the models with "
                "it, and let MLOPS_MODELS_DIR name where they are"
            )
        return found[model]


def source_of(folder: Path) -> bytes:
    """The content of features.py; PastFunctionError where there is none."""
    try:
        return (folder / FILE).read_bytes()
    except OSError as error:
        raise PastFunctionError(
            f"there is no {FILE} beside the model's defs.yaml ({type(error).__name__})"
        ) from error


def _of_source(source: bytes, path: Path, rule: HistoryRule) -> PastFunction:
    """Run the file's content that was compared, not what it may hold a moment later."""
    name = f"{path.parent.name}_{path.stem}_{rule.digest[:12]}"
    spec = spec_from_file_location(name, path)
    if spec is None:
        raise PastFunctionError(f"{FILE} is no Python file")
    module = module_from_spec(spec)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:  # a module of the user's may raise anything
        raise PastFunctionError(
            f"{FILE}, which computes {rule.name}, cannot be imported: {type(error).__name__}"
        ) from error
    found: Callable[..., Any] | None = getattr(module, rule.function, None)
    # A contract names it: nothing but the file's own functions is called.
    if not callable(found) or getattr(found, "__module__", None) != name:
        raise PastFunctionError(f"{FILE} has no function {rule.function!r} of its own")
    return found

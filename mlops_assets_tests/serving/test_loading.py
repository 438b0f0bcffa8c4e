import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import BundleError
from mlops_assets.domain.profile import Profile, profile_levels
from mlops_assets.stores.bundles import write_manifest
from mlops_assets_tests.serving.conftest import CONTRACT, REGRESSION, Built
from serving import memory
from serving.batching import BatchingScorer
from serving.loading import load, synthetic_row
from serving.pointer import Bundle


def reseal(folder: Path, runtime: str = "onnx") -> Bundle:
    (folder / "manifest.json").unlink()
    write_manifest(folder, runtime, {"rows": 0})  # type: ignore[arg-type]
    return Bundle("9", str(folder))


@pytest.fixture
def copied(bundles: dict[str, Built], tmp_path: Path) -> Path:
    """A copy of a good bundle that a test may spoil."""
    return Path(shutil.copytree(bundles["1"].folder, tmp_path / "copy"))


def test_a_compiled_model_takes_the_short_way_and_an_exact_one_is_batched(
    bundles: dict[str, Built],
):
    compiled = load(Bundle("1", str(bundles["1"].folder)))
    assert compiled.onnx is not None
    assert compiled.reader is not None
    exact = load(Bundle("1", str(bundles["skops"].folder)))
    assert (exact.onnx, exact.reader) == (None, None)
    assert isinstance(exact.scorer, BatchingScorer)


def test_a_version_that_does_not_fit_into_memory_is_not_loaded(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    for name, content in (("max", "1000000"), ("current", "999999"), ("stat", "")):
        (tmp_path / f"memory.{name}").write_text(content)
    with pytest.raises(BundleError, match="give serving more"):
        load(Bundle("1", str(copied)))


def test_models_without_entity_and_time_take_the_short_way_too(bundles: dict[str, Built]):
    loaded = load(Bundle("7", str(bundles["demand"].folder)))
    assert loaded.contract == REGRESSION
    assert loaded.reader is not None
    assert loaded.onnx is not None
    one = loaded.reader.read(b'{"records": [{"hour": 12, "weather": "rain"}]}')
    assert one is not None
    expected = loaded.scorer.score(
        {"hour": np.array([12.0]), "weather": np.array(["rain"], object)}
    )
    assert loaded.onnx.score_record(one.numbers, one.categories) == expected[0].tolist()


def test_known_categories_are_those_of_the_reference_and_the_missing_one(copied: Path):
    carriers = profile_levels(np.array(["AA", "UA", "AA"], dtype=object))
    (copied / "reference.json").write_bytes(Profile({"carrier": carriers}).to_json())
    assert load(reseal(copied)).known == {"carrier": {"AA", "UA", MISSING_CATEGORY}}


def test_a_bundle_without_a_reference_counts_no_unknown_categories(copied: Path):
    (copied / "reference.json").unlink()
    assert load(reseal(copied)).known == {}


def test_the_synthetic_row_has_one_value_per_column():
    row = synthetic_row(CONTRACT)
    assert {name: len(values) for name, values in row.items()} == {
        column.name: 1 for column in CONTRACT.columns
    }


class Harm:
    """What a pickle can do: run a command when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.trace,))


def _contract_of_another_model(folder: Path) -> None:
    content = json.loads((folder / "contract.json").read_bytes())
    content["columns"][0]["name"] = "other"
    (folder / "contract.json").write_text(json.dumps(content))


def _more_classes(folder: Path) -> None:
    content = json.loads((folder / "contract.json").read_bytes())
    content["classes"].append("never")
    (folder / "contract.json").write_text(json.dumps(content))


def _no_contract(folder: Path) -> None:
    (folder / "contract.json").write_text("[]")


def _no_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\x00" * 100)


def _pickle(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(pickle.dumps(Harm(folder.parent / "harm")))


@pytest.mark.parametrize(
    "spoil", [_contract_of_another_model, _more_classes, _no_contract, _no_onnx, _pickle]
)
def test_a_sealed_bundle_that_cannot_serve_is_refused(copied: Path, spoil: Callable[[Path], None]):
    spoil(copied)
    with pytest.raises(BundleError):
        load(reseal(copied))
    assert not (copied.parent / "harm").exists()


def test_a_pickle_in_place_of_the_pipeline_is_never_run(bundles: dict[str, Built], tmp_path: Path):
    folder = Path(shutil.copytree(bundles["skops"].folder, tmp_path / "copy"))
    (folder / "model.skops").write_bytes(pickle.dumps(Harm(tmp_path / "harm")))
    with pytest.raises(BundleError, match="no pipeline that we trust"):
        load(reseal(folder, "skops"))
    assert not (tmp_path / "harm").exists()
    # The trap works where something does unpickle.
    pickle.loads((folder / "model.skops").read_bytes())  # noqa: S301
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("kind", ["function", "class"])
def test_a_type_that_we_do_not_trust_is_refused_before_it_is_made(
    bundles: dict[str, Built], tmp_path: Path, kind: str
):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    folder = Path(shutil.copytree(bundles["skops"].folder, tmp_path / "copy"))
    harm = FunctionTransformer(shutil.rmtree) if kind == "function" else {"made": Unknown()}
    skops.io.dump(harm, folder / "model.skops")
    Unknown.made = 0
    with pytest.raises(BundleError, match="no pipeline that we trust"):
        load(reseal(folder, "skops"))
    assert Unknown.made == 0


class Unknown:
    """A type outside of our list."""

    made = 0

    def __new__(cls) -> "Unknown":
        cls.made += 1
        return super().__new__(cls)


@pytest.mark.parametrize("where", ["an MLmodel beside the model", "a link", "a folder"])
def test_whatever_else_lies_in_the_folder_is_refused(copied: Path, where: str):
    if where == "a link":
        (copied / "more").symlink_to("/etc/hostname")
    elif where == "a folder":
        (copied / "more").mkdir()
    else:
        (copied / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    with pytest.raises(BundleError, match=r"manifest|no plain file"):
        load(Bundle("9", str(copied)))

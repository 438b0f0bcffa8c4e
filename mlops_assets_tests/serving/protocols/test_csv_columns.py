import pytest

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError
from mlops_assets_tests.serving.protocols.samples import CONTRACT
from serving.bodies import BodyError
from serving.protocols.csv_columns import read_csv


def test_cells_are_read_by_the_type_of_their_column():
    text = (
        "distance,seats,carrier,weekend,flight,gate\r\n"
        "1e3,3,007,True,12,\r\n"
        "\r\n"
        '.5,-2.0,"a,\n""b""",false,,""\r\n'
    )
    assert read_csv(text.encode(), CONTRACT) == {
        "distance": [1000.0, 0.5],
        "seats": [3, -2.0],
        "carrier": ["007", 'a,\n"b"'],
        "weekend": [True, False],
        "flight": ["12", None],
        "gate": [None, None],
    }


@pytest.mark.parametrize("cell", ["nan", "inf", "1_000", "0x10", "１", " 1", "1,5", "--1", "yes"])  # noqa: RUF001
def test_what_is_no_number_stays_text_for_the_parser_to_refuse(cell: str):
    assert read_csv(f'distance\n"{cell}"\n'.encode(), CONTRACT) == {"distance": [cell]}


@pytest.mark.parametrize("body", [b"\xff\xfe", b'a\n"b', b'a\n"b"c', b"a\n" + b"x" * 200_000])
def test_what_is_no_csv_is_refused(body: bytes):
    with pytest.raises(BodyError):
        read_csv(body, CONTRACT)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "csv"),
        (b"a,b\n", "csv"),
        (b"a,b,a\n1,2,3\n", "csv.a"),
        (b"a,b\n1,2\n1\n", "csv[1]"),
        (b"a,b\n1,2,3\n", "csv[0]"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(body: bytes, field: str):
    with pytest.raises(RequestError) as caught:
        read_csv(body, CONTRACT)
    assert caught.value.field == field


def test_rows_are_counted_before_they_are_read():
    with pytest.raises(TooManyRowsError):
        read_csv(b"distance\n" + b"1\n" * 51, CONTRACT)
    assert len(read_csv(b"distance\n" + b"1\n" * 50, CONTRACT)["distance"]) == 50


def test_many_names_of_which_one_is_repeated_take_no_time():
    header = ",".join(f"c{number}" for number in range(200_000))
    with pytest.raises(RequestError):
        read_csv(f"{header},c199999\n1".encode(), CONTRACT)

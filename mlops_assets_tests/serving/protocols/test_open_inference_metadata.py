from mlops_assets_tests.serving.protocols.samples import CONTRACT
from serving.protocols.open_inference_metadata import model, server


def test_the_server_tells_its_name_and_extensions():
    assert server("1.2") == {
        "name": "mlops_assets",
        "version": "1.2",
        "extensions": ["binary_tensor_data"],
    }


def test_a_model_tells_its_inputs_and_outputs_in_the_words_of_the_protocol():
    found = model(CONTRACT, ["3", "4"])
    assert (found["name"], found["versions"]) == ("flight_delay", ["3", "4"])
    assert {one["name"]: one["datatype"] for one in found["inputs"]} == {
        "distance": "FP64",
        "wind": "FP64",
        "seats": "FP64",
        "carrier": "BYTES",
        "gate": "BYTES",
        "weekend": "BOOL",
    }
    assert {one["name"]: one["shape"] for one in found["outputs"]} == {
        "prediction": [-1],
        "probabilities": [-1, 2],
        "prediction_id": [-1],
    }

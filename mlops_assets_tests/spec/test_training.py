from mlops_assets_tests.spec.examples import spec


def test_grids_keep_the_types_of_their_values():
    grid = [{"max_iter": [10, 20], "learning_rate": 0.1, "warm_start": True, "max_depth": [None]}]
    candidate = {"estimator": "hist_gradient_boosting", "grid": grid}
    (found,) = spec(training={"candidates": [candidate]}).training.candidates
    assert found.grid[0] == {
        "max_iter": (10, 20),
        "learning_rate": 0.1,
        "warm_start": True,
        "max_depth": (None,),
    }
    assert found.grid[0]["warm_start"] is True

"""`python -m … JOBLIB_FILE FOLDER`: the pipeline as an MLflow model that answers probabilities."""

import sys

import joblib
import mlflow.sklearn

if __name__ == "__main__":
    pipeline = joblib.load(sys.argv[1])
    mlflow.sklearn.save_model(
        pipeline,
        sys.argv[2],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        pip_requirements=[],
    )

-- Runs once, when the volume is empty: POSTGRES_DB made the database dagster, MLflow has its own.
CREATE DATABASE mlflow OWNER mlops;

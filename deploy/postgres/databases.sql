-- Runs once, when the volume is empty: POSTGRES_DB made the database dagster, MLflow has its own,
-- and so has the online store of history, which replicas read.
CREATE DATABASE mlflow OWNER mlops;
CREATE DATABASE online OWNER mlops;

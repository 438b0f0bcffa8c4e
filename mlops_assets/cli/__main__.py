"""`python -m mlops_assets.cli` is `mlops`."""

from mlops_assets.cli import main

if __name__ == "__main__":
    main(prog_name="mlops")

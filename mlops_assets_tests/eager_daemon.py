"""Dagster's daemon, which asks the sensors each second; by itself it does each five seconds."""

from dagster._daemon import sensor
from dagster._daemon.cli import main

if __name__ == "__main__":
    sensor.MIN_INTERVAL_LOOP_TIME = 1
    main()

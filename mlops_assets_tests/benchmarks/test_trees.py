import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.serving.trees import Busy, Tree, cpu_used
from mlops_assets_tests.waiting import eventually

# A parent that ignores SIGTERM's usual meaning for its child: the child must be found and ended.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10000))"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_tree_counts_its_descendants_and_leaves_none(tmp_path: Path):
    log = tmp_path / "log"
    tree = Tree([sys.executable, "-c", FAMILY], {}, tmp_path, log)
    try:
        eventually(lambda: log.read_text().endswith("\n"))
        child = int(log.read_text())
        before = tree.cpu_times()
        time.sleep(0.5)
        assert child in before
        assert cpu_used(before, tree.cpu_times()) > 0.05
        assert tree.memory_mb() > 1
    finally:
        tree.stop()
    assert not psutil.pid_exists(child)
    assert tree.members() == []


def test_processes_that_started_meanwhile_count_whole_and_those_that_ended_do_not():
    assert cpu_used({1: 2.0, 2: 5.0}, {1: 3.5, 3: 0.25}) == 1.75


def test_the_load_tool_and_the_server_are_not_other_programs():
    machine = Busy()
    spin = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    with_it = machine.others(server=0.0)
    assert machine.others(server=0.2) < with_it or with_it == 0
    assert 0 <= with_it <= 1

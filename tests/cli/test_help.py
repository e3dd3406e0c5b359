"""What the commands' help must say, and options that only show in a running command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import requests
from typer.testing import CliRunner

from reach_analytics.cli._run import app


@pytest.mark.parametrize("command", ["export", "plan"])
def test_help_of_csv_options_warns_of_formulas(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    told = " ".join(shown.output.split())
    assert "begins with = + - or @ (or a tab or carriage return) as a formula" in told
    assert "as text" in told


def test_the_sandbox_command_answers_to_the_given_host_names(tmp_path):
    command = [sys.executable, "-m", "reach_analytics.cli", "sandbox", "--allow-host", "one.test"]
    process = subprocess.Popen(
        [*command, "--allow-host", "two.test"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ),
    )
    try:
        lines = iter(process.stdout.readline, "")
        shown = next(line for line in lines if "REACH_BASE_URL=" in line)
        url = shown.strip().partition("=")[2]
        for host, status in (("one.test", 200), ("two.test:9", 200), ("evil.example", 421)):
            answer = requests.get(f"{url}/openapi.json", headers={"Host": host}, timeout=10)
            assert answer.status_code == status
    finally:
        process.terminate()
        process.communicate(timeout=30)

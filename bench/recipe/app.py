"""The usual recipe, as many services have it: Flask takes the script, nsjail runs it in a fresh python3.

Started by bench/run under gunicorn with two workers. What can be made cheap without leaving the recipe is: the script
goes in by standard input rather than by a file, nothing is logged, and the packages are precompiled.
"""

import json
import os
import subprocess

from flask import Flask, jsonify, request

app = Flask(__name__)

PYTHON = os.environ["RECIPE_PYTHON"]
PREFIX = os.environ["RECIPE_PREFIX"]
PACKAGES = os.environ["RECIPE_PACKAGES"]
RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")
JAIL = [
    os.environ["RECIPE_NSJAIL"],
    "--config",
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "nsjail.cfg"),
    "--bindmount_ro",
    f"{RUNNER}:/runner.py",
    "--bindmount_ro",
    f"{PACKAGES}:/packages",
    *([] if PREFIX == "/usr" else ["--bindmount_ro", PREFIX]),
    "--",
    PYTHON,
    "-I",
    "/runner.py",
]


@app.post("/execute")
def execute():
    script = (request.get_json(silent=True) or {}).get("script")
    if not isinstance(script, str):
        return jsonify(error="'script' must be a string and included in the request"), 400
    try:
        done = subprocess.run(JAIL, input=script, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return jsonify(error="the script took too long"), 422
    last = done.stdout.rpartition("\n")[2]
    if done.returncode != 0 or not last:
        return jsonify(error=done.stderr.strip().rpartition("\n")[2] or "the script failed"), 422
    return jsonify(result=json.loads(last))

"""The names of layers and of steps of the jail, as the program itself has them: no tool has a list of its own.

    python3 tools/layers.py            prints what `mayfly layers` says
"""

import json
import os
import pathlib
import subprocess

HOME = pathlib.Path(__file__).resolve().parent.parent

# What stops an attack, and is no layer of ours: the kernel, whatever the jail; or a bound that is documented.
NO_LAYER = {"kernel", "documented"}


def build(*arguments):
    """What cargo made by `cargo test --no-run`: programs and tests, by name. Nothing is built again after a test run."""
    environment = dict(os.environ)
    if "PYO3_PYTHON" not in environment:
        environment["PYO3_PYTHON"] = subprocess.check_output([HOME / "tools/python.sh"], text=True).strip()
    command = ["cargo", "test", "--locked", *arguments, "--no-run", "--message-format=json"]
    said = subprocess.run(command, cwd=HOME, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = map(json.loads, said.splitlines())
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}


def names(program=None):
    """`layers`, those that clients are `told` of, `steps`, and in a test build all that `MAYFLY_WITHOUT` takes."""
    program = program or build("--test", "release")["mayfly"]
    return json.loads(subprocess.check_output([program, "layers"], text=True))


if __name__ == "__main__":
    print(json.dumps(names(), indent=2))

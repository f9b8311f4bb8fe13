"""Runs in the recipe's jail: reads a script from standard input, calls its main(), prints the result as the last line."""

import json
import sys

sys.path.append("/packages")
names = {"__name__": "main"}
exec(compile(sys.stdin.read(), "main.py", "exec"), names)
sys.stdout.write("\n" + json.dumps(names["main"]()))

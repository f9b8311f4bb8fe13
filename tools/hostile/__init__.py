"""The hostile soak: well-behaved clients beside seven that attack by everything known. `tools/soak.py --hostile` runs it."""

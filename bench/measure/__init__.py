"""What bench/run and bench/growth are made of. Nothing but Python's standard library is needed."""

"""Gives a script the surroundings that its request asks for: variables of the environment, and seeds.

Compiled into the server and run in runner.py's namespace. It works in the jail, in the child whose job asks for it, before the script:
no program is ever executed with these variables.
"""


def surround(env, seed):
    """Set the variables `env`, pairs of texts, and seed `random` and `numpy.random` unless `seed` is None."""
    for name, value in env:
        os.environ[name] = value
        if name == "TZ":
            time.tzset()
    if seed is not None:
        waiting = set()
        for name in ("random", "numpy.random"):
            if name in sys.modules:
                _seed(sys.modules[name], seed)
            else:
                waiting.add(name)
        if waiting:
            sys.meta_path.insert(0, _Seeding(waiting, seed))


def _seed(module, seed):
    """Seed a module, unless it is a file of this name that was sent and has nothing to seed."""
    function = getattr(module, "seed", None)
    if callable(function):
        function(seed)


class _Seeding:
    """Seeds modules when they are imported later: each would draw a seed of its own."""

    def __init__(self, waiting, seed):
        self._waiting, self._seed = waiting, seed

    def find_spec(self, name, path=None, target=None):
        if name not in self._waiting:
            return None
        self._waiting.discard(name)
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._seed_after(spec.loader)
                return spec
        return None

    def _seed_after(self, loader):
        execute, seed = loader.exec_module, self._seed

        def exec_module(module):
            execute(module)
            _seed(module, seed)

        loader.exec_module = exec_module

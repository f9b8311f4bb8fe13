//! What a zygote imports before it is asked to, and the scripts it rehearses with.
//!
//! Only names and texts: importing and running is done in `python`.

/// Standard modules that every zygote has loaded, separated by white space.
///
/// A megabyte of loaded modules makes each child about 0.1 ms dearer; an import that is not there costs the script that
/// needs it 0.3 to 6 ms. So this holds what is common, and small (all of it: 1 MB), or both enough. `asyncio` is not
/// here (3.8 MB, 25 ms, with `ssl`), nor are `logging`, `hashlib`, `pathlib` and `uuid` (0.2 to 0.7 MB, 1 to 3 ms each).
pub(super) const STANDARD: &str = "
    abc base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal enum functools heapq
    inspect io itertools json math operator os random re statistics string struct textwrap time traceback types typing
    warnings
";

/// What a child rehearses: it defines, calls, and builds text, lists and dicts, as most scripts do.
pub(super) const ORDINARY: &str = "\
def main(count=3):
    rows = [{'number': i, 'text': f'{i}'} for i in range(count)]
    return {'rows': rows, 'sum': sum(row['number'] for row in rows), 'mean': 1.5, 'none': None}
";

/// What a zygote rehearses besides, so that the code behind it is warm in every child that comes to need it.
pub(super) const OTHERS: &[&str] =
    &[RAISES, "def main(:\n", "def main(x):\n    pass\n", "x = 1\n", REFUSED, LIBRARY, "import sys\nsys.exit(1)\n"];

const RAISES: &str = "\
def divide(a, b):
    return a / b

def main():
    try:
        return divide(1, 0)
    except ZeroDivisionError as error:
        raise ValueError('not a number') from error
";

const REFUSED: &str = "\
def main():
    return {'rows': [1, {'thing': object()}]}
";

const LIBRARY: &str = "\
import json
import random
import re
from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from typing import List, Optional

class Color(Enum):
    RED = 1

@dataclass
class Item:
    name: str
    price: float = 0.0
    tags: List[str] = field(default_factory=list)

Point = namedtuple('Point', 'x y')

def main():
    random.seed()
    words = re.findall(r'[a-z]+', 'the cat and the hat')
    groups = defaultdict(list)
    for word in sorted(words, key=len):
        groups[len(word)].append(word)
    return {
        'json': json.loads(json.dumps({'a': [1, 2.5, None, 'text']}, indent=1)),
        'count': Counter(words), 'groups': groups, 'color': Color.RED, 'item': Item('pen'), 'point': Point(1, 2),
        'day': date(2024, 1, 31) + timedelta(days=1), 'set': {1}, 'text': '{:>8.2f}'.format(2.5).strip(),
    }
";

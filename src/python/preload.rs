//! What a zygote imports before it is asked to, and the scripts it rehearses with.
//!
//! Only names and texts: importing and running is done in `python`.

/// Standard modules that every zygote has loaded, separated by white space.
///
/// A megabyte of loaded modules adds about 0.04 ms to each child; an import that is not there costs the script that
/// needs it 0.3 to 6 ms. So this holds what is common, and small (all of it: 1 MB), or both enough. `asyncio` is not
/// here (3.8 MB, 25 ms, with `ssl`), nor are `logging`, `hashlib`, `pathlib` and `uuid` (0.2 to 0.7 MB, 1 to 3 ms each).
pub(super) const STANDARD: &str = "
    abc base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal enum functools heapq
    inspect io itertools json math operator os random re statistics string struct textwrap time traceback types typing
    warnings
";

/// Whether every zygote has this module of the standard library.
#[must_use]
pub fn is_always_loaded(module: &str) -> bool {
    STANDARD.split_whitespace().any(|loaded| loaded == module)
}

/// What a child rehearses: it defines, calls, and builds text, lists and dicts, as most scripts do.
pub(super) const ORDINARY: &str = "\
def main(count=3):
    rows = [{'number': i, 'text': f'{i}'} for i in range(count)]
    return {'rows': rows, 'sum': sum(row['number'] for row in rows), 'mean': 1.5, 'none': None}
";

/// What a zygote rehearses besides, so that the code behind it is warm in every child that comes to need it.
pub(super) const OTHERS: &[&str] =
    &[RAISES, "def main(:\n", "def main(x):\n    pass\n", "x = 1\n", REFUSED, LIBRARY, "import sys\nsys.exit(1)\n"];

/// What a zygote rehearses where it has preloaded a package of this name: much of a package is first made when it is first
/// used, and then shared.
pub(super) const WITH_PACKAGE: &[(&str, &str)] = &[("numpy", NUMPY), ("pandas", PANDAS)];

const NUMPY: &str = "\
import numpy as np

def main():
    table = np.arange(12, dtype=float).reshape(3, 4)
    square = table[:, :3] + np.eye(3)
    picked = table[table > table.mean()]
    return {
        'sum': table.sum(axis=0), 'std': table.std(), 'dot': table @ table.T, 'solved': np.linalg.solve(square, np.ones(3)),
        'picked': picked, 'sorted': np.sort(picked)[::-1], 'where': np.where(table > 3, table, 0).tolist(),
        'random': np.random.default_rng(1).normal(size=3), 'text': str(table), 'line': np.linspace(0, 1, 5).round(2),
        'whole': np.array([1, 2, 3]).cumsum(), 'unique': np.unique(np.array([1, 2, 2])), 'all': bool(np.allclose(table, table)),
    }
";

const PANDAS: &str = "\
import io
import pandas as pd

def main():
    frame = pd.DataFrame({'team': ['a', 'b', 'a', 'c'], 'points': [1, 2, 3, 4], 'share': [0.5, 1.5, None, 2.5]})
    frame['double'] = frame['points'] * 2
    more = pd.DataFrame({'team': ['a', 'b'], 'city': ['Oslo', 'Rome']})
    days = pd.Series(range(4), index=pd.date_range('2024-01-01', periods=4, freq='D'))
    read = pd.read_csv(io.StringIO('x,y\\n1,2.5\\n3,4.5\\n'))
    groups = frame.groupby('team')
    return {
        'sum': groups['points'].sum().to_dict(), 'mean': groups.agg({'points': 'mean', 'share': 'max'}),
        'frame': groups['points'].mean().reset_index(), 'merged': frame.merge(more, on='team', how='left'),
        'sorted': frame.sort_values('points', ascending=False).head(2), 'picked': frame[frame['points'] > 1],
        'text': frame.to_string(), 'csv': read.to_csv(index=False), 'described': frame.describe(),
        'pivot': frame.pivot_table(index='team', values='points', aggfunc='sum'), 'filled': frame.fillna(0),
        'weeks': days.resample('2D').sum(), 'counted': frame['team'].value_counts(), 'mapped': frame['team'].str.upper(),
        'applied': frame['points'].apply(lambda points: points + 1), 'records': frame.to_dict('records'),
        'joined': pd.concat([frame, frame], ignore_index=True), 'at': frame.loc[0, 'points'], 'first': frame.iloc[0],
    }
";

/// For packages that write to much when they are used, two short scripts that are unlike each other: the pages that both
/// write to are likely to be written to by any. (numpy has 23 of them, pandas 590.)
pub(super) const PAIRS: &[(&str, [&str; 2])] = &[("pandas", [PANDAS_GROUPS, PANDAS_TABLE])];

const PANDAS_GROUPS: &str = "\
import pandas as pd

def main():
    frame = pd.DataFrame({'city': ['Oslo', 'Rome', 'Oslo'], 'count': [1, 2, 3]})
    return frame.groupby('city').sum().to_dict()
";

const PANDAS_TABLE: &str = "\
import io
import pandas as pd

def main():
    table = pd.read_csv(io.StringIO('x,y\\n1,2.5\\n3,4.5\\n'))
    table['z'] = table['x'] * 2
    return table.sort_values('z').describe()
";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_goes_to_the_loaded_zygote_only_for_what_the_lean_one_lacks() {
        for module in crate::supervisor::routing::STANDARD_WHEN_LOADED {
            assert!(!STANDARD.split_whitespace().any(|loaded| loaded == module), "{module}");
        }
    }
}

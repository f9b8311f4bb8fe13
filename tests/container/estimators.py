"""Fits every public estimator of scikit-learn to a little data, and asks it to predict and to transform.

Posted as a script by run.py, in parts: `main(part, parts)` takes every `parts`-th. It answers how many went well, and for each
other what it raised.
"""

import warnings

import numpy as np
from sklearn.base import is_regressor
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import all_estimators

WITH = {  # what has no default, or none that fits so little data
    "ColumnTransformer": [("one", "passthrough", [0])], "Pipeline": [("one", LogisticRegression())], "SparseCoder": np.eye(4),
    "GridSearchCV": {"C": [1.0]}, "HalvingGridSearchCV": {"C": [1.0]}, "RandomizedSearchCV": {"C": [1.0]},
    "HalvingRandomSearchCV": {"C": [1.0]},
}
TEXTS = ["the cat", "a cat and a hat", "the hat"] * 10


def made(name, kind):
    if name in ("CCA", "PLSCanonical", "PLSSVD"):
        return kind(n_components=1)
    if name == "FrozenEstimator":
        return kind(LogisticRegression().fit([[0], [1]], [0, 1]))
    if name == "FeatureUnion":
        return kind([("one", PCA())])
    if name in ("VotingClassifier", "StackingClassifier"):
        return kind([("one", LogisticRegression())])
    if name in ("VotingRegressor", "StackingRegressor"):
        return kind([("one", Ridge())])
    if name in ("GaussianRandomProjection", "SparseRandomProjection"):
        return kind(n_components=2)
    if name.endswith("SearchCV"):
        return kind(LogisticRegression(), WITH[name], **({"n_iter": 1} if name == "RandomizedSearchCV" else {}))
    if name in WITH:
        return kind(WITH[name])
    if name == "SelfTrainingClassifier":
        return kind(LogisticRegression())
    try:
        return kind()
    except TypeError:
        return kind(Ridge() if "Regress" in name else LogisticRegression())


def data(name, estimator):
    random = np.random.default_rng(0)
    x = np.abs(random.normal(size=(60, 4))) + 0.1
    if name == "FrozenEstimator":
        return x[:, :1], y
    y = (x[:, 0] > 0.75).astype(int)
    if name in ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer"):
        return TEXTS, None
    if name in ("DictVectorizer", "FeatureHasher"):
        return [{"a": 1, "b": 2}] * 5, None
    if name == "IsotonicRegression":
        return x[:, 0], x[:, 1]
    if name == "KernelCenterer":
        return x @ x.T, None
    if name == "PatchExtractor":
        return random.normal(size=(3, 20, 20)), None
    if name in ("LabelBinarizer", "LabelEncoder"):
        return y, None
    if name == "MultiLabelBinarizer":
        return [["a"], ["a", "b"]], None
    if name.startswith("MultiTask") or name in ("MultiOutputRegressor", "RegressorChain"):
        return x, x[:, :2]
    if name in ("MultiOutputClassifier", "ClassifierChain"):
        return x, np.column_stack([y, 1 - y])
    return x, x[:, 1] if is_regressor(estimator) else y


def main(part, parts):
    warnings.simplefilter("ignore")
    fitted, failed = 0, {}
    for name, kind in all_estimators()[part::parts]:
        try:
            estimator = made(name, kind)
            x, y = data(name, estimator)
            estimator.fit(x) if y is None else estimator.fit(x, y)
            for method in ("predict", "transform"):
                if hasattr(estimator, method):
                    getattr(estimator, method)(x)
            fitted += 1
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"[:200]
    return {"fitted": fitted, "failed": failed}

"""Writes scikit-learn-forest.json: two fitted forests, rows, and their scores by score_samples."""
import json
import numpy as np
import sklearn
from sklearn.ensemble import IsolationForest


def export(forest):
    trees = []
    for estimator, features in zip(forest.estimators_, forest.estimators_features_):
        tree = estimator.tree_
        trees.append({
            'children_left': tree.children_left.tolist(),
            'children_right': tree.children_right.tolist(),
            'feature': tree.feature.tolist(),
            'threshold': tree.threshold.tolist(),
            'n_node_samples': tree.n_node_samples.tolist(),
            'features': features.tolist(),
        })
    return {'n_features': forest.n_features_in_, 'max_samples': int(forest.max_samples_), 'trees': trees}


random = np.random.RandomState(7)
rows = np.concatenate([random.normal(0, 1, (300, 4)), random.uniform(-6, 6, (12, 4))])
probes = np.concatenate([rows[::30], random.uniform(-9, 9, (14, 4))])
cases = []
for settings in ({'n_estimators': 6, 'max_samples': 48}, {'n_estimators': 5, 'max_samples': 33, 'max_features': 0.5}):
    forest = IsolationForest(random_state=3, **settings).fit(rows)
    cases.append({'settings': settings, 'forest': export(forest), 'scores': forest.score_samples(probes).tolist()})
with open('scikit-learn-forest.json', 'w') as file:
    json.dump({'source': f'scikit-learn {sklearn.__version__}', 'rows': probes.tolist(), 'cases': cases}, file)
    file.write('\n')

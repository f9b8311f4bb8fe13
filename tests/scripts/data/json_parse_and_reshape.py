import json

TEXT = r"""
{"issues": [
  {"id": 1, "status": "open", "labels": ["bug", "ui"], "assignee": {"name": "ada"}},
  {"id": 2, "status": "closed", "labels": ["na\u00efve \u2603"], "assignee": {"name": "bo"}},
  {"id": 3, "status": "open", "labels": [], "assignee": null}
]}
"""


def main():
    issues = json.loads(TEXT)["issues"]
    by_status = {}
    for issue in issues:
        by_status.setdefault(issue["status"], []).append(issue["id"])
    return {
        "by_status": by_status,
        "labels": [label for issue in issues for label in issue["labels"]],
        "missing": [issue["id"] for issue in issues if not issue["assignee"]],
    }

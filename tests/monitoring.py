"""Checks what infra/monitoring asks Prometheus for: tests/monitoring.py DIRECTORY

Every metric that an alert or a panel names is in docs/metrics.md. Writes the panels' expressions into DIRECTORY as rules,
for promtool, which knows no dashboards, and prints the file's path.
"""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
monitoring = root / "infra" / "monitoring"
dashboard = json.loads((monitoring / "dashboard.json").read_text())
alerts = (monitoring / "alerts.yml").read_text()

expressions = [
    target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
]
assert expressions, "the dashboard has no panel"

documented = set(re.findall(r"^\| `([a-z_]+)`", (root / "docs" / "metrics.md").read_text(), re.MULTILINE))
for text in [alerts, *expressions]:
    for name in re.findall(r"\b(?:cryptoserve|process)_[a-z_]+", text):
        family = re.sub(r"_(?:bucket|sum|count)$", "", name)
        assert family in documented or name in documented, f"{name} is not in docs/metrics.md"

rules = []
for number, expression in enumerate(expressions):
    plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
    rules.append({"record": f"panel:{number}", "expr": plain})
file = pathlib.Path(sys.argv[1]) / "panels.yml"
# JSON is YAML.
file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
print(file)

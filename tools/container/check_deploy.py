"""Checks the manifests that have no validator of their own, and what all of them must agree on.

Run by check_manifests.sh. Knative's and Cloud Run's services are held to Knative's published definition, with unknown
fields refused. Then the promises that the manifests make together: never root, never a capability, a read-only root, no
token, no egress, probes on paths that the server has, and every MAYFLY_ variable one that the server reads.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import jsonschema
import yaml
from cloudcoil.models.knative_serving.serving import v1 as knative

ROOT = Path(__file__).resolve().parents[2]
PROBES = {"/livez", "/readyz"}
problems: list[str] = []


def main() -> None:
    for name in ["knative.yaml", "cloudrun.yaml"]:
        check_knative(ROOT / "deploy" / name)
    check_kubernetes(ROOT / "deploy/kubernetes.yaml")
    check_compose(ROOT / "compose.yaml")
    check_profile(ROOT / "deploy/seccomp-outer.json", ROOT / "seccomp")
    check_variables()
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def demand(holds: object, sentence: str) -> None:
    if not holds:
        problems.append(sentence)


def closed(schema: object) -> object:
    """The same schema with every object that lists its properties closed to others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(part) for key, part in schema.items()}
    if result.get("type") == "object" and "properties" in result:
        result.setdefault("additionalProperties", False)
    return result


def check_knative(path: Path) -> None:
    [service] = yaml.safe_load_all(path.read_text())
    schema = closed(knative.Service.model_json_schema(by_alias=True))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(service):
        problems.append(f"{path.name}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
    template = service["spec"]["template"]
    [container] = template["spec"]["containers"]
    check_container(path.name, container)
    check_patience(path.name, template["spec"], container)
    annotations = {**service["metadata"].get("annotations", {}), **template["metadata"]["annotations"]}
    for name, value in annotations.items():
        demand(isinstance(value, str), f"{path.name}: annotation {name} must be a string")
    if path.name == "cloudrun.yaml":
        demand(annotations.get("run.googleapis.com/execution-environment") in ("gen1", "gen2"),
               "cloudrun.yaml: the execution environment must be said")
        demand(template["spec"].get("serviceAccountName"), "cloudrun.yaml: a service account of its own must be named")
        # Cloud Run takes no security context, and none may be pretended.
        demand("securityContext" not in container, "cloudrun.yaml: Cloud Run does not know securityContext")
    else:
        demand(template["spec"].get("automountServiceAccountToken") is False, f"{path.name}: there must be no token")
        check_security(path.name, container["securityContext"], container["securityContext"])


def check_patience(name: str, pod: dict, container: dict) -> None:
    """The platform waits for an answer longer than all the requests that it lets in at once can take."""
    settings = {variable["name"]: variable["value"] for variable in container["env"]}
    text = (ROOT / "src/config/settings.rs").read_text()

    def setting(name: str) -> int:
        return int(settings.get(name) or re.search(rf'"{name}",\s*"(\d+)"', text)[1])

    limits = container["resources"]["limits"]
    # As `concurrency` in src/machine.rs counts them.
    memory = int(limits["memory"].removesuffix("Gi")) * 1024 - 200
    places = min(int(limits["cpu"]) * 16, memory // setting("MAYFLY_MEMORY_MB"))
    turns = math.ceil(pod["containerConcurrency"] / places)
    # Ten seconds for a child: `TAKE_TIME` of src/children/pool.rs.
    longest = turns * setting("MAYFLY_MAX_WALL_MS") / 1000 + 10
    demand(pod["timeoutSeconds"] >= longest, f"{name}: a request may take {longest} s, and the platform ends it sooner")


def check_kubernetes(path: Path) -> None:
    documents = {one["kind"]: one for one in yaml.safe_load_all(path.read_text())}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    check_container(path.name, container)
    check_security(path.name, container["securityContext"], pod["securityContext"])
    demand(pod.get("automountServiceAccountToken") is False, f"{path.name}: there must be no token")
    policy = documents["NetworkPolicy"]["spec"]
    demand("Egress" in policy["policyTypes"] and policy.get("egress") == [], f"{path.name}: egress must be denied")
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for kind, selector in [("Service", documents["Service"]["spec"]["selector"]),
                           ("NetworkPolicy", policy["podSelector"]["matchLabels"]),
                           ("PodDisruptionBudget", documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])]:
        demand(selector.items() <= labels, f"{path.name}: the {kind} selects no pod")


def check_security(name: str, container: dict, identity: dict) -> None:
    demand(identity.get("runAsNonRoot") is True and identity.get("runAsUser"), f"{name}: must not run as root")
    demand(container.get("allowPrivilegeEscalation") is False, f"{name}: must not gain privileges")
    demand(container.get("readOnlyRootFilesystem") is True, f"{name}: the root must be read-only")
    demand(container.get("capabilities") == {"drop": ["ALL"]}, f"{name}: every capability must be dropped")
    demand(identity.get("seccompProfile"), f"{name}: a seccomp profile must be named")


def check_container(name: str, container: dict) -> None:
    demand(container["resources"]["limits"].keys() == {"cpu", "memory"}, f"{name}: both limits must be set")
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
        if probe in container:
            path = container[probe]["httpGet"]["path"]
            demand(path in PROBES, f"{name}: {probe} asks {path}, which the server does not have")
    demand("livenessProbe" in container, f"{name}: there must be a liveness probe")


def check_compose(path: Path) -> None:
    service = yaml.safe_load(path.read_text())["services"]["mayfly"]
    demand(service.get("read_only") is True and service.get("cap_drop") == ["ALL"], "compose.yaml: must be closed")
    for option in service["security_opt"]:
        if option.startswith("seccomp="):
            demand((ROOT / option.removeprefix("seccomp=")).is_file(), f"compose.yaml: {option} names no file")
    for port in service["ports"]:
        demand(port.startswith("127.0.0.1:"), f"compose.yaml: port {port} is open to the network")


def check_profile(path: Path, policies: Path) -> None:
    profile = json.loads(path.read_text())
    demand(profile["defaultAction"] == "SCMP_ACT_ERRNO", f"{path.name}: what is not allowed must be refused")
    seen: set[str] = set()
    for rule in profile["syscalls"]:
        demand(rule.get("comment"), f"{path.name}: the rule for {rule['names'][0]} says no why")
        demand(rule["names"] == sorted(rule["names"]), f"{path.name}: the names from {rule['names'][0]} on are not sorted")
        for name in rule["names"]:
            demand("args" in rule or name not in seen, f"{path.name}: {name} is listed twice")
            seen.add(name)
    never = {"bpf", "keyctl", "add_key", "request_key", "ptrace", "process_vm_readv", "process_vm_writev", "userfaultfd",
             "io_uring_setup", "perf_event_open", "open_by_handle_at", "setns", "kexec_load", "init_module",
             "finit_module", "delete_module", "mknod", "mknodat", "settimeofday", "clock_settime", "reboot", "swapon"}
    for policy in sorted(policies.glob("*.json")):
        # A filter within a filter: what a script may call must pass the container's profile too.
        lacking = {rule["syscall"] for rule in json.loads(policy.read_text())["allow"]} - seen
        demand(not lacking, f"{path.name}: scripts may call {', '.join(sorted(lacking))} by seccomp/{policy.name}, and it refuses")
    demand(not seen & never, f"{path.name}: must not allow {', '.join(sorted(seen & never))}")


def check_variables() -> None:
    """Every MAYFLY_ variable that a manifest sets is one that the program reads."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    for path in [ROOT / "Dockerfile", ROOT / "compose.yaml", *sorted((ROOT / "deploy").glob("*.yaml"))]:
        for name in set(re.findall(r"\bMAYFLY_[A-Z_]+\b", path.read_text())):
            demand(re.search(rf"\b{name}\b", source), f"{path.name}: the server reads no {name}")


if __name__ == "__main__":
    main()

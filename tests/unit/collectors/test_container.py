"""Control groups from recorded trees, version 2 and 1; GPUs by a stand-in for NVML."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from perfsuite.collectors import present, said_of
from perfsuite.collectors.container import ContainerCollector
from perfsuite.collectors.gpu import LACKING, NO_DRIVER, GpuCollector

V2 = {
    "proc/7/cgroup": "0::/kube/pod/box\n",
    "cg/kube/pod/memory.max": "1073741824\n",
    "cg/kube/pod/cpu.max": "max 100000\n",
    "cg/kube/pod/box/memory.current": "268435456\n",
    "cg/kube/pod/box/memory.max": "max\n",
    "cg/kube/pod/box/memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n",
    "cg/kube/pod/box/cpu.max": "150000 100000\n",
    "cg/kube/pod/box/cpu.stat": "usage_usec 5000000\nnr_periods 50\nnr_throttled 10\nthrottled_usec 2000000\n",
}
V1 = {
    "proc/7/cgroup": "9:name=systemd:/\n4:memory:/docker/box\n2:cpu,cpuacct:/docker/box\n0::/\n",
    "cg/memory/docker/memory.limit_in_bytes": "9223372036854771712\n",
    "cg/memory/docker/box/memory.usage_in_bytes": "268435456\n",
    "cg/memory/docker/box/memory.limit_in_bytes": "1073741824\n",
    "cg/memory/docker/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "cg/cpu/docker/box/cpu.cfs_quota_us": "150000\n",
    "cg/cpu/docker/box/cpu.cfs_period_us": "100000\n",
    "cg/cpu/docker/box/cpu.stat": "nr_periods 50\nnr_throttled 10\nthrottled_time 2000000000\n",
    "cg/cpuacct/docker/box/cpuacct.usage": "5000000000\n",
}
LATER = {
    "cg/kube/pod/box/memory.events": "oom_kill 3\n",
    "cg/kube/pod/box/cpu.stat": "usage_usec 6000000\nnr_throttled 14\nthrottled_usec 2500000\n",
    "cg/memory/docker/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "cg/cpu/docker/box/cpu.stat": "nr_periods 60\nnr_throttled 14\nthrottled_time 2500000000\n",
    "cg/cpuacct/docker/box/cpuacct.usage": "6000000000\n",
}


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def at(root: Path, files: dict[str, str]) -> ContainerCollector:
    lay(root, files)
    return ContainerCollector(7, root / "cg", root / "proc")


@pytest.mark.parametrize(("files", "version"), [(V2, 2), (V1, 1)], ids=["v2", "v1"])
def test_limits_use_throttling_and_kills(files: dict[str, str], version: int, tmp_path: Path) -> None:
    collector = at(tmp_path, files)
    assert (collector.absent, collector.version) == (None, version)
    first = collector.sample()
    assert first == {
        "memory_bytes": 268435456.0, "memory_limit_bytes": 1073741824.0, "memory_percent": 25.0,
        "cpu_limit_cores": 1.5, "throttled_seconds": 0.0, "throttled_periods": 0.0, "oom_kills": 0.0,
    }  # fmt: skip
    lay(tmp_path, {name: text for name, text in LATER.items() if name in files})
    later = collector.sample()
    assert (later["throttled_seconds"], later["throttled_periods"], later["oom_kills"]) == (0.5, 4.0, 2.0)
    assert later["cpu_percent"] > 0.0
    assert collector.says() == f"control groups v{version}: memory 1 GiB, CPU 1.5 cores"


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_a_container_that_sees_its_own_group_as_the_root(files: dict[str, str], tmp_path: Path) -> None:
    inside = {name.replace("/kube/pod/box", "").replace("/docker/box", ""): text for name, text in files.items()}
    found = at(tmp_path, {name: text for name, text in inside.items() if "kube" not in name and "docker" not in name})
    assert found.sample()["memory_bytes"] == 268435456.0


def test_no_limit_is_none(tmp_path: Path) -> None:
    files = {**V2, "cg/kube/pod/memory.max": "max\n", "cg/kube/pod/box/cpu.max": "max 100000\n"}
    collector = at(tmp_path, files)
    assert not {"memory_limit_bytes", "memory_percent", "cpu_limit_cores"} & set(collector.sample())
    assert collector.says() == "control groups v2: memory no limit, CPU no limit"


def test_what_is_not_there_is_absent_and_says_why(tmp_path: Path) -> None:
    assert "cannot be read" in at(tmp_path / "a", {}).says()
    bare = at(tmp_path / "b", {"proc/7/cgroup": "0::/\n", "cg/cpu.stat": "usage_usec 1\n"})
    assert bare.says() == "absent: no control group with memory or CPU of its own here"


@pytest.mark.parametrize("text", ["", "nonsense", "0::/../../etc\n", "::::\n\xff"])
def test_a_membership_that_is_nonsense_harms_nothing(text: str, tmp_path: Path) -> None:
    lay(tmp_path, {"cg/memory.current": "7\n", "cg/memory.max": "junk\n", "cg/cpu.stat": "odd\nx y z\n"})
    assert at(tmp_path, {"proc/7/cgroup": text}).sample() == {"memory_bytes": 7.0}


def nvml(gpus: int, failing: str | None = None) -> ModuleType:
    module = ModuleType("pynvml")
    made = {"NVMLError": type("NVMLError", (Exception,), {})}
    for name in ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded"):
        made[name] = type(name, (made["NVMLError"],), {})

    def start() -> None:
        if failing is not None:
            raise made[failing]("no")

    def utilization(number: int) -> SimpleNamespace:
        if number == 1:
            raise made["NVMLError"]("not supported")
        return SimpleNamespace(gpu=40)

    vars(module).update(
        made, nvmlInit=start, nvmlDeviceGetCount=lambda: gpus, nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=lambda i: b"Test GPU", nvmlDeviceGetUtilizationRates=utilization,
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(used=1 << 30, total=4 << 30),
    )  # fmt: skip
    return module


def test_gpus_are_sampled_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2))
    collector = GpuCollector()
    assert collector.says() == "Test GPU, Test GPU"
    assert collector.sample() == {
        "0_memory_bytes": float(1 << 30), "0_memory_percent": 25.0, "0_busy_percent": 40.0,
        "1_memory_bytes": float(1 << 30), "1_memory_percent": 25.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (None, LACKING),
        (nvml(1, "NVMLError_LibraryNotFound"), NO_DRIVER),
        (nvml(1, "NVMLError_DriverNotLoaded"), NO_DRIVER),
        (nvml(1, "NVMLError"), "NVML: no"),
        (nvml(0), "no NVIDIA GPU here"),
    ],
)
def test_no_gpu_says_why(module: ModuleType | None, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert GpuCollector().says() == f"absent: {why}"
    assert "gpu" not in {one.name for one in present(None)}
    assert said_of()["gpu"] == f"absent: {why}"

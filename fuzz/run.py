"""Long runs, guided by what the bytes reach: ``python -m fuzz.run MINUTES [TARGET…]``.

Needs atheris, which ``make fuzz`` installs into an environment of its own. Each target runs in
a process of its own; what reaches something new is kept, the smallest files of it in
``fuzz/corpus``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 4096
KEPT = 60
"""Files of one target that are kept in the repository, smallest first."""
AT_ONCE = 2
MEGABYTES = 2048


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target in this process; it ends by itself."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["atdata"]):
        from fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def long_run(target: str, seconds: int, folder: Path) -> str:
    """Run one target in another process; what it did, in a line."""
    from fuzz.targets import seeds

    work = folder / target
    work.mkdir()
    for number, seed in enumerate(seeds()[target]):
        (work / f"seed-{number}").write_bytes(seed)
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        f"-rss_limit_mb={MEGABYTES}",
        "-timeout=30",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/fault-{target}-",
    ]
    command = [sys.executable, "-m", "fuzz.run", "--one", target, *options]
    places = [str(work), str(CORPUS / target)]
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    runs = re.search(r"number_of_executed_units:\s+(\d+)", done.stderr)
    peak = re.search(r"peak_rss_mb:\s+(\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    summary = (
        f"{target}: {int(runs[1]) if runs else 0:,} runs in {seconds} s, "
        f"{reached[-1][0] if reached else '?'} places reached, {peak[1] if peak else '?'} MB"
    )
    if done.returncode:
        (folder / f"{target}.log").write_text(done.stderr)
        return f"{summary}. FAILED:\n{done.stderr[-3000:]}"
    _keep(work, target)
    return summary


def _keep(work: Path, target: str) -> None:
    """Add what the run found to the corpus, as long as it is small."""
    found = sorted((p for p in work.iterdir() if p.stat().st_size), key=lambda p: p.stat().st_size)
    new = [path for path in found if not path.name.startswith("seed-")]
    step = max(1, len(new) // KEPT)
    for path in new[::step][:KEPT]:
        (CORPUS / target / path.name).write_bytes(path.read_bytes())
    kept = sorted((CORPUS / target).iterdir(), key=lambda p: p.stat().st_size)
    for path in kept[KEPT:]:
        path.unlink()


def main(minutes: float, targets: list[str]) -> int:
    """Run the targets, so many minutes in all."""
    from fuzz.targets import TARGETS

    names = targets or list(TARGETS)
    seconds = max(10, int(60 * minutes / len(names)))
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="atdata-fuzz-"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(lambda name: long_run(name, seconds, folder), names):
            print(line, flush=True)
            failed += "FAILED" in line
    print(f"Faults, if any, are in {folder}.")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(float(sys.argv[1]), sys.argv[2:]))

"""Record the demonstration: what a terminal shows of it as an animated SVG, and the report that it ends with.

It runs in a copy of what Meltano needs. Meltano's own lines are left out. The report's picture takes Chromium and its
driver. Both are of a real run:

uv run python scripts/record_demo.py            # docs/assets/demo.svg and docs/assets/report.webp
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

from selenium import webdriver

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "docs" / "assets"
COMMAND = "uv run meltano run demo"
COLUMNS, ROWS = 108, 27
SIZE, LINE, EDGE, HEAD = 13, 18, 16, 30
"""Pixels: the height of a letter, of a line, the margin, and the window's head."""
LETTER = SIZE * 0.602
"""The width of a letter in the usual fixed-width typefaces."""
FASTER, TYPED, REST = 12, 1.5, 6.0
"""How many times faster it is shown; seconds in which the command is typed, and for which the end stays."""
STYLE = f"""\
text{{font:{SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}}
text{{fill:#d7dde4;white-space:pre}}
.soft{{fill:#8b98a5}}.head{{fill:#7fd1c4;font-weight:600}}"""


def record(directory: Path) -> list[tuple[float, str]]:
    """Run the demonstration; return the lines that it shows, each with its second.

    Raises:
        CalledProcessError: it failed.
    """
    for name in ("meltano.yml", "logging.yaml"):
        shutil.copy(ROOT / name, directory)
    ignored = shutil.ignore_patterns("target", "logs", "dbt_packages")
    shutil.copytree(ROOT / "transform", directory / "transform", ignore=ignored)
    environment = {**os.environ, "HOME": str(directory), "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    begin = time.monotonic()
    with subprocess.Popen(
        ["meltano", "run", "demo"],  # noqa: S607 - of this environment
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demonstration:
        lines = [
            (time.monotonic() - begin, line.rstrip().replace(str(directory), "...").replace(f"{ROOT}/", ""))
            for line in demonstration.stdout or ()
            if "] meltano " not in line
        ]
    if demonstration.returncode:
        raise subprocess.CalledProcessError(demonstration.returncode, "meltano run demo", "\n".join(map(str, lines)))
    return lines


def draw(lines: list[tuple[float, str]]) -> str:
    """Draw what the terminal shows, line by line; a reader who wants no motion sees the end."""
    whole = TYPED + lines[-1][0] / FASTER + REST
    shown = [(TYPED * 0.2, f"$ {COMMAND}"), *((TYPED + second / FASTER, line) for second, line in lines)]
    width = round(COLUMNS * LETTER + 2 * EDGE)
    height = HEAD + ROWS * LINE + EDGE
    rules, texts, steps = [], [], ["0%{transform:translateY(0)}"]
    for number, (second, line) in enumerate(shown):
        at = 100 * second / whole
        rules.append(f"@keyframes l{number}{{0%,{at:.2f}%{{opacity:0}}{at + 0.01:.2f}%,100%{{opacity:1}}}}")
        rules.append(f"#l{number}{{animation:l{number} {whole:.1f}s infinite}}")
        if number >= ROWS:
            steps.append(f"{at:.2f}%{{transform:translateY({(ROWS - 1 - number) * LINE}px)}}")
        kind = "head" if line.startswith("==") else "soft" if number and re.match(r" *\d+ s:|-+ ", line) else "line"
        cut = line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"
        texts.append(
            f'<text id="l{number}" class="{kind}" x="{EDGE}" y="{(number + 1) * LINE - 5}">{escape(cut)}</text>'
        )
    end = min(0, (ROWS - len(shown)) * LINE)
    steps.append(f"100%{{transform:translateY({end}px)}}")
    moves = f"@keyframes up{{{''.join(steps)}}}#up{{animation:up {whole:.1f}s step-end infinite}}"
    motion = f"@media(prefers-reduced-motion:no-preference){{{''.join(rules)}{moves}}}"
    dots = "".join(f'<circle cx="{EDGE + 6 + 18 * dot}" cy="15" r="5" fill="#46525e"/>' for dot in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{COMMAND}, recorded and shown {FASTER} times as fast</title><style>{STYLE}{motion}</style>'
        f'<rect width="{width}" height="{height}" rx="8" fill="#1b2127" stroke="#46525e"/>{dots}'
        f'<svg y="{HEAD}" width="{width}" height="{ROWS * LINE}"><g id="up" transform="translate(0 {end})">'
        f"{''.join(texts)}</g></svg></svg>\n"
    )


def photograph(page: Path, picture: Path) -> None:
    """Let Chromium take a picture of the beginning of a page."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1520"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 85})
        picture.write_bytes(base64.b64decode(taken["data"]))
    finally:
        driver.quit()


def main() -> None:
    """Record, draw and photograph."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "project")
        directory.mkdir()
        lines = record(directory)
        (ASSETS / "demo.svg").write_text(draw(lines), encoding="utf-8")
        photograph(directory / ".meltano" / "demo" / "report.html", ASSETS / "report.webp")
    print("\n".join(line for _, line in lines))


if __name__ == "__main__":
    main()

"""Fetch the browser libraries of the page, check them and write them to gssm/web/static/vendor.

Run ``python tests/web/vendor.py`` (needs npm and the network) after a change of `PACKAGES`;
``test_web_vendor.py`` compares what lies there with the manifest that is written here. No
package is built: files are taken as they were published.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[2] / "gssm" / "web" / "static" / "vendor"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Package:
    """A pinned package of npm: what the registry said of it, and the files that are kept."""

    name: str
    version: str
    integrity: str  # of the tarball, as a lock file has it
    licence: str
    why: str
    files: dict[str, str]  # here: in the package


PACKAGES = (
    Package(
        "maplibre-gl",
        "5.24.1",
        "sha512-HyiYBwtsbk3L1n1EPLJHWqdoyMiF80n7tEYXFZyu2m1TjvaNx6KMLiFeDdmszt1/mq2zvsR1TJuX/NMu5BonXQ==",
        "BSD-3-Clause",
        "the map; the newest of its line with a build for a strict Content-Security-Policy, "
        "373 kB compressed where 6.17 takes 443 kB",
        {
            "maplibre-gl-csp.js": "dist/maplibre-gl-csp.js",
            "maplibre-gl-csp-worker.js": "dist/maplibre-gl-csp-worker.js",
            "maplibre-gl.css": "dist/maplibre-gl.css",
            "LICENSE.txt": "LICENSE.txt",
        },
    ),
    Package(
        "uplot",
        "1.6.32",
        "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        "MIT",
        "charts, loaded with the first one",
        {
            "uPlot.esm.js": "dist/uPlot.esm.js",
            "uPlot.min.css": "dist/uPlot.min.css",
            "LICENSE": "LICENSE",
        },
    ),
    Package(
        "world-atlas",
        "2.0.2",
        "sha512-IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ==",
        "ISC",
        "outlines of Natural Earth 1:50 million, which is public domain; loaded after the map",
        {"countries-50m.json": "countries-50m.json", "LICENSE": "LICENSE"},
    ),
)


def main() -> None:
    """Write every package and the manifest."""
    manifest = []
    for package in PACKAGES:
        folder = VENDOR / package.name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        members = unpack(download(package))
        for here, there in package.files.items():
            (folder / here).write_bytes(members[f"package/{there}"])
        manifest.append(entry(package, folder))
    text = json.dumps({"packages": manifest}, indent=2) + "\n"
    (VENDOR / MANIFEST).write_text(text)


def download(package: Package) -> bytes:
    """Return the tarball of a package, after its hash was found to be the pinned one."""
    with tempfile.TemporaryDirectory() as folder:
        spec = f"{package.name}@{package.version}"
        subprocess.run(
            ["npm", "pack", spec, "--silent", "--pack-destination", folder], check=True, cwd=folder
        )
        (tarball,) = Path(folder).glob("*.tgz")
        content = tarball.read_bytes()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if package.integrity != f"sha512-{digest}":
        sys.exit(f"{spec} is sha512-{digest}, not the pinned {package.integrity}.")
    return content


def unpack(tarball: bytes) -> dict[str, bytes]:
    """Return the files of a tarball by name."""
    with tarfile.open(fileobj=io.BytesIO(tarball)) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        return {name: found.read() for name, found in files if found}


def entry(package: Package, folder: Path) -> dict[str, Any]:
    """Return what the manifest says of a package: a hash for every file."""
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }
    return {
        "name": package.name,
        "version": package.version,
        "licence": package.licence,
        "integrity": package.integrity,
        "why": package.why,
        "sha256": hashes,
    }


if __name__ == "__main__":
    main()

"""What would lead to a package index: no text of the project may."""

from __future__ import annotations

import re

PACKAGE_INDEX = re.compile(r"https?://\S+/(simple|packages)/|--(extra-)?index-url|UV_INDEX")

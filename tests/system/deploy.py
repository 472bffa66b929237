"""
The configurations in C{docs/deploy}, and the nginx that can read them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.twistdcase import ISROOT

DEPLOY = Path(__file__).parent.parent.parent / "docs" / "deploy"

_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

whyNoNginx = (
    "nginx needs root to read its own configuration"
    if not ISROOT
    else "nginx is not installed"
    if shutil.which("nginx") is None
    else "nginx has no stream module (Debian: libnginx-mod-stream)"
    if not os.path.exists(_STREAM)
    else ""
)
"""
The reason why nginx cannot run here as a load balancer, or an empty string.
"""

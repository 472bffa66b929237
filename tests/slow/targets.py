"""
Tests for measuring a thousand and ten thousand targets.  They print the memory and the
CPU time that this takes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from unittest import skipUnless

from tests.twistdcase import TwistdCase, command

# Runs a command, and then prints its peak of resident memory in kibibytes, and its CPU
# time in seconds.  The peak would include that of this process if this process started
# the command itself.
_RUN = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime, file=sys.stderr)
sys.exit(status)
"""

_MOST_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
_hasTenThousand = _MOST_FILES == resource.RLIM_INFINITY or _MOST_FILES > 10_100


@skipUnless(sys.platform == "linux", "other systems have one address on the loopback")
class TargetsTests(TwistdCase):
    """
    Tests for many targets on the loopback, which are addresses of one server.
    """

    def setUp(self) -> None:
        super().setUp()
        server = self.start("twistd", "-n", "--pidfile=", "shout", "-p0", "-i0.0.0.0")
        self.port = self.waitFor(server, r"listening on UDP 0\.0\.0\.0:(\d+)")[1]

    def measure(self, count: int, *options: str) -> float:
        """
        Measure a number of targets, print what it took, and return the peak of resident
        memory in megabytes.  Each target answers, and nothing is lost.
        """
        path = self.path("hosts")
        with open(path, "w") as hosts:
            for number in range(count):
                high, low = divmod(number, 250)
                hosts.write(f"127.1.{high}.{low + 1}:{self.port}\n")
        shoutping = (command("shoutping"), "--json", "--hosts", path, *options)
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *shoutping],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        kibibytes, seconds = map(float, done.stderr.split())
        targets = json.loads(done.stdout)["targets"]
        self.assertEqual(len(targets), count)
        self.assertEqual(sum(each["lost"] for each in targets), 0)
        memory = kibibytes * 1024 / 1e6
        sent = sum(each["sent"] for each in targets)
        skipped = sum(each["skipped"] for each in targets)
        print(
            f"\n{count:,} targets, {' '.join(options)}: {memory:.0f} MB, "
            f"{seconds:.1f} s of CPU, {sent:,} datagrams, {skipped:,} skipped"
        )
        return memory

    def test_thousand(self) -> None:
        """
        A thousand targets take less than 100 MB, also without a count.
        """
        self.assertLess(self.measure(1000, "-c", "5"), 100)
        self.assertLess(self.measure(1000, "-w", "30"), 100)

    @skipUnless(_hasTenThousand, "the limit of open files is too low")
    def test_tenThousand(self) -> None:
        """
        Ten thousand targets are measured side by side.
        """
        self.measure(10_000, "-c", "5")

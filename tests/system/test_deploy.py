"""
Tests for the configurations in C{docs/deploy}, by the tools that read them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from typing import ClassVar
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout.options import Options
from shout.sources import REFLECTORS
from tests import hosts
from tests.directory import shortDirectory
from tests.families import needsIPv6Sockets
from tests.system.deploy import DEPLOY, whyNoNginx
from tests.twistdcase import ISROOT, TIMEOUT, needs


class DeployCase(SynchronousTestCase):
    """
    Copies a configuration, changed or not, and runs the tool that reads it.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)

    def copy(self, name: str, change: tuple[str, str] = ("", "")) -> str:
        """
        Copy a configuration with a part of it replaced, and return the path.
        """
        text = (DEPLOY / name).read_text()
        self.assertIn(change[0], text)
        path = f"{self.directory}/{name}"
        with open(path, "w") as f:
            f.write(text.replace(*change))
        return path

    def check(self, *command: str) -> subprocess.CompletedProcess[str]:
        """
        Run a tool.
        """
        # trial -j sets PYTHONPATH, which a tool with a Python of its own cannot use.
        environment = {**os.environ}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


class SystemdTests(DeployCase):
    """
    Tests for C{shout.service} and C{shout.socket}.
    """

    twistd: ClassVar = ("/opt/shout/bin/twistd", shutil.which("true") or "")

    def verify(self, *units: str) -> list[str]:
        """
        Return the mistakes that C{systemd-analyze} finds in units.
        """
        printed = self.check("systemd-analyze", "verify", *units).stdout
        # It checks the units that these need, too.
        return [line for line in printed.splitlines() if "shout" in line]

    @needs("systemd-analyze")
    def test_verify(self) -> None:
        """
        systemd understands every line of both.
        """
        service = self.copy("shout.service", self.twistd)
        socket = self.copy("shout.socket")
        self.assertEqual(self.verify(service, socket), [])

    @needs("systemd-analyze")
    def test_mistakes(self) -> None:
        """
        A value that systemd does not understand, and a missing program, are found.
        """
        socket = self.copy("shout.socket", ("=8M", "=plenty"))
        self.assertRegex("".join(self.verify(socket)), "plenty")
        service = self.copy("shout.service", ("/opt/shout/bin/twistd", "/none/twistd"))
        self.assertRegex("".join(self.verify(service)), "/none/twistd")

    @needs("systemd-analyze")
    def test_security(self) -> None:
        """
        The sandbox leaves the service exposed at 1.1 of 10, and a weaker one is found.
        """
        command = ("systemd-analyze", "security", "--offline=true", "--threshold=11")
        service = self.copy("shout.service", self.twistd)
        tight = self.check(*command, service)
        self.assertEqual(tight.returncode, 0, tight.stdout)
        service = self.copy("shout.service", ("PrivateDevices=yes", ""))
        self.assertNotEqual(self.check(*command, service).returncode, 0)


class NginxTests(DeployCase):
    """
    Tests for C{nginx.conf} and C{nginx.nft}.
    """

    @skipIf(whyNoNginx, whyNoNginx)
    @needsIPv6Sockets
    def test_understood(self) -> None:
        """
        nginx understands it, but not with a misspelt directive.
        """
        log = f"{self.directory}/log"
        pid = f"{self.directory}/pid"
        command = ("nginx", "-t", "-q", "-e", log, "-g", f"pid {pid};", "-c")
        place = ("/var/log/nginx/error.log", log)
        found = self.check(*command, self.copy("nginx.conf", place))
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        wrong = self.copy("nginx.conf", ("proxy_responses 1", "proxy_replies 1"))
        found = self.check(*command, wrong)
        self.assertIn('unknown directive "proxy_replies"', found.stdout)

    @skipUnless(ISROOT, "nft needs root")
    @needs("nft")
    def test_firewall(self) -> None:
        """
        nft understands the rules, and they drop the same source ports as shout.
        """
        found = self.check("nft", "--check", "--file", str(DEPLOY / "nginx.nft"))
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        wrong = self.copy("nginx.nft", ("burst", "bust"))
        self.assertNotEqual(self.check("nft", "--check", "--file", wrong).returncode, 0)
        ports = re.search(r"sport \{(.*)\} drop", (DEPLOY / "nginx.nft").read_text())
        assert ports is not None
        self.assertEqual(
            ports[1].replace(" ", "").split(","),
            ["0-1023", *map(str, sorted(REFLECTORS))],
        )


class KeepalivedTests(DeployCase):
    """
    Tests for C{keepalived.conf}.
    """

    @skipIf(hosts.whyNot, hosts.whyNot)
    @needs("keepalived")
    def test_understood(self) -> None:
        """
        keepalived understands it, but not with a misspelt word.
        """
        command = ("keepalived", "--config-test", "--use-file")
        wrong = self.copy("keepalived.conf", ("lvs_method", "lvs_metod"))
        host = hosts.Namespaces(self, "a")
        host.ip("a", "link add eth0 type veth peer name eth1")
        with host.on("a"):
            found = self.check(*command, str(DEPLOY / "keepalived.conf"))
            refused = self.check(*command, wrong)
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        self.assertIn("Unknown keyword 'lvs_metod'", refused.stdout)

    def test_payloads(self) -> None:
        """
        The request to each shout is hello, and the required reply HELLO.
        """
        text = (DEPLOY / "keepalived.conf").read_text()
        for word, payload in (("payload", b"hello"), ("require_reply", b"HELLO")):
            asked = re.findall(rf"{word} (\w+)", text)
            self.assertEqual(list(map(bytes.fromhex, asked)), [payload] * 3)


class ContainerTests(DeployCase):
    """
    Tests for C{Containerfile} and C{kubernetes.yaml}.
    """

    @needs("hadolint")
    def test_containerfile(self) -> None:
        """
        hadolint finds nothing in the Containerfile, but a base that is not pinned.
        """
        found = self.check("hadolint", str(DEPLOY / "Containerfile"))
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        wrong = self.copy("Containerfile", ("python:3.13-slim-trixie", "python"))
        self.assertIn("DL3006", self.check("hadolint", wrong).stdout)

    @needs("kubernetes-validate")
    def test_kubernetes(self) -> None:
        """
        All three objects match the schemas of Kubernetes exactly.
        """
        command = ("kubernetes-validate", "--strict")
        found = self.check(*command, str(DEPLOY / "kubernetes.yaml"))
        self.assertEqual(found.returncode, 0, found.stdout)
        for kind in ("deployment", "service", "poddisruptionbudget"):
            self.assertIn(f"passed for resource {kind}/shout", found.stdout)
        for change in (("maxSkew", "maxSkue"), ("port: 9999", "port: many")):
            wrong = self.check(*command, self.copy("kubernetes.yaml", change))
            self.assertEqual(wrong.returncode, 1, wrong.stdout)


class OptionsTests(DeployCase):
    """
    Tests for the command lines in the configurations.
    """

    def find(self, name: str, pattern: str) -> str:
        """
        Return the first group of a pattern in a configuration.
        """
        found = re.search(pattern, (DEPLOY / name).read_text(), re.MULTILINE)
        assert found is not None, pattern
        return found[1]

    def test_systemd(self) -> None:
        """
        shout takes the options in the unit of systemd.
        """
        command = shlex.split(self.find("shout.service", "^ExecStart=(.*)$"))
        options = Options()
        options.parseOptions(command[command.index("shout") + 1 :])
        self.assertEqual(options["status"], "tcp:9990:interface=127.0.0.1")

    def test_install(self) -> None:
        """
        The documents install from the project's directory, and not from an index,
        which has no such project.
        """
        documents = [*DEPLOY.glob("*.md"), *DEPLOY.parent.glob("*.md")]
        documents.append(DEPLOY.parent.parent / "README.md")
        commands = [
            line
            for document in documents
            for line in document.read_text().splitlines()
            if "pip install" in line
        ]
        self.assertGreater(len(commands), 1)
        for line in commands:
            self.assertRegex(line, r"pip install (--\w+ )*'?\.(\[\w+\]')?(\s|\)|$)")

    def test_container(self) -> None:
        """
        shout takes the options of the container, and serves the port and the status
        port in the objects for Kubernetes.
        """
        entry = json.loads(self.find("Containerfile", "^ENTRYPOINT (.*)$"))
        command = entry + json.loads(self.find("kubernetes.yaml", "^ +args: (.*)$"))
        options = Options()
        options.parseOptions(command[command.index("shout") + 1 :])
        self.assertEqual((options["port"], options["status"]), (9999, "tcp6:9990"))
        ports = r"containerPort: (\d+)\n.*UDP\n(?:.*\n)*? +containerPort: 9990"
        self.assertEqual(self.find("kubernetes.yaml", ports), "9999")

    def test_probes(self) -> None:
        """
        Kubernetes sends nothing to a shout that is not healthy, allows a check the
        time that it may take, and does not kill shout for a failed one.
        """
        for kind, path in (
            ("startup", "/healthz"),
            ("readiness", "/healthz"),
            ("liveness", "/"),
        ):
            probe = rf"{kind}Probe:\n +httpGet: \{{path: (.*), port: status\}}\n"
            self.assertEqual(self.find("kubernetes.yaml", probe), path)
            timeout = rf"{kind}Probe:\n(?:.*\n){{2}} +timeoutSeconds: (\d+)\n"
            self.assertGreaterEqual(int(self.find("kubernetes.yaml", timeout)), 3)

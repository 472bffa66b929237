"""
The checks of this project.

nox                                   runs the quick ones, marked with * below
nox -s NAME                           runs one
nox -R -s tests -- tests.test_guard   runs some tests, without installing anything
"""

from __future__ import annotations

import os
import re
from configparser import RawConfigParser
from pathlib import Path

import nox

nox.needs_version = ">= 2024.3.2"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "docs", "tests"]

SETUP = RawConfigParser()
SETUP.read("setup.cfg")

# What python -m twisted.trial runs; Twisted 22.4 needs pkg_resources for that.
TRIAL = ("python", "-c", "from twisted.scripts.trial import run; run()")

# The worker processes of trial wait more than they compute.
ALL = ["-j4", "tests"]

# The tests that run code in C.
NATIVE = ["-j2", "tests.udp", "tests.test_capitals", "tests.test_fuzz"]
NATIVE += ["tests.test_protocol", "tests.test_protocol_responder"]

# The commands that start another command in each special host.
OFFLINE = "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
HOSTS = {
    "latest": (),
    "lowest": (),
    "withoutExtension": (),
    "withoutBatches": ("env", "SHOUT_PURE_PYTHON=1"),
    "withoutIPv6": ("unshare", "--net", "sh", "-c", f'{OFFLINE} && exec "$@"', "sh"),
    "asNobody": ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
}


@nox.session
def tests(session: nox.Session) -> None:
    """
    Run the tests, or those named after --.
    """
    session.install("-e", ".[test]")
    session.run(*TRIAL, *(session.posargs or ALL))


@nox.session
def slow(session: nox.Session) -> None:
    """
    Run the tests that take long: with a browser, and with terminals and pip.
    """
    session.install("-e", ".[test]")
    names = [f"tests.slow.{path.stem}" for path in Path("tests/slow").glob("[!_]*.py")]
    session.run(*TRIAL, *(session.posargs or sorted(names)))


@nox.session
def twisted(session: nox.Session) -> None:
    """
    Run Twisted's own tests of UDP and DNS on the ports of shout.
    """
    session.install("-e", ".[suites]", env={"SHOUT_BUILD_EXTENSION": "yes"})
    for isPure in ("", "1"):
        environment = {"SHOUT_PURE_PYTHON": isPure}
        session.run("python", "-m", "tests.twistedsuites", env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """
    Check the style, the formatting and the layers of the code.
    """
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "-m", "tests.layers", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """
    Check the types.
    """
    session.install("-e", ".[types]")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """
    Build the API documentation in apidocs/.
    """
    session.install("-e", ".[docs]")
    # Links to Twisted are checked against the installed copy, without the network.
    inventory = Path(session.create_tmp(), "objects.inv")
    if not inventory.exists():
        where = "import twisted; print(*twisted.__path__[-1:])"
        package = str(session.run("python", "-c", where, silent=True)).strip()
        output = f"--html-output={inventory.parent}"
        session.run("pydoctor", "--make-intersphinx", output, package, silent=True)
    url = "https://docs.twisted.org/en/stable/api/"
    session.run("pydoctor", f"--intersphinx-file={inventory}::{url}", "shout")


@nox.session
def bench(session: nox.Session) -> None:
    """
    Measure shout beside other servers.
    """
    session.install("-e", ".[benchmarks]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def kill(session: nox.Session) -> None:
    """
    Kill busy workers, and check that only the batches in progress are lost.
    """
    session.install("-e", ".")
    session.run("python", "-m", "benchmarks.kill", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """
    Look for bytes from the network that break something.
    """
    session.install("-e", ".[test]")
    # It has no wheels for some systems, and its absence is reported by what runs.
    session.install("-e", ".[fuzz]", success_codes=[0, 1])
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """
    Find changes of the modules named after -- that no test notices.
    """
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """
    Build the wheel and the sdist in dist/.
    """
    session.install("build")
    session.run("rm", "-rf", "dist", external=True)
    session.run("python", "-m", "build", silent=True)


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """
    Install the wheel, without extras, and start its commands.
    """
    session.install(*map(str, Path("dist").glob("*.whl")))
    # Elsewhere than here, where Python would find the sources.
    session.chdir(session.create_tmp())
    if " shout " not in str(session.run("twistd", "--help", silent=True)):
        session.error("twistd does not list shout")
    page = "from importlib.resources import files; files('shout.status')"
    session.run("python", "-c", f"{page}.joinpath('status.html').read_bytes()")
    version = str(session.run("shout", "--version", silent=True))
    if os.environ.get("SHOUT_BUILD_EXTENSION") == "yes" and "batched" not in version:
        session.error(f"the wheel has no extension: {version}")
    session.run("shoutping", "--version")


def unpack(session: nox.Session) -> str:
    """
    Unpack the sdist into an empty directory, and change to it.  Python finds the
    sources there, so extensions are built beside them.
    """
    [archive] = Path("dist").resolve().glob("*.tar.gz")
    directory = Path(session.create_tmp(), "sdist")
    session.run("rm", "-rf", directory, external=True)
    directory.mkdir()
    session.chdir(directory)
    session.run("tar", "-xzf", archive, "--strip-components=1", external=True)
    return str(directory)


@nox.session(reuse_venv=False)
def compiler(session: nox.Session) -> None:
    """
    Install the sdist where there is no C compiler.
    """
    [archive] = Path("dist").resolve().glob("*.tar.gz")
    session.chdir(session.create_tmp())
    for choice, code, prefix in ("yes", 1, "error"), ("", 0, "warning: build_ext"):
        log = session.run(
            *("pip", "install", "--verbose", archive),
            env={"CC": "missing", "SHOUT_BUILD_EXTENSION": choice},
            success_codes=[code],
            silent=True,
        )
        if not re.search(f"{prefix}: (?=.*missing).*No such file", str(log)):
            session.error(f"the log does not say what is missing:\n{log}")
    if "portable" not in str(session.run("shout", "--version", silent=True)):
        session.error("the ports are not portable")


@nox.session
def sanitize(session: nox.Session) -> None:
    """
    Run the tests of the C extensions under AddressSanitizer and
    UndefinedBehaviorSanitizer.
    """
    unpack(session)
    sanitizers = "-fsanitize=address,undefined -fno-sanitize-recover"
    warnings = "-Wall -Wextra -Werror -fanalyzer"
    environment = {
        "CC": "gcc",
        "CFLAGS": f"{warnings} {sanitizers} -O1 -fno-omit-frame-pointer",
        "LDFLAGS": sanitizers,
        "SHOUT_BUILD_EXTENSION": "yes",
    }
    session.install("-e", ".[test]", env=environment)
    libraries = [
        str(session.run("gcc", f"-print-file-name={name}", external=True, silent=True))
        for name in ("libasan.so", "libubsan.so")
    ]
    environment |= {
        "LD_PRELOAD": " ".join(map(str.strip, libraries)),
        # CPython keeps memory until the end.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Otherwise several objects share one allocation.
        "PYTHONMALLOC": "malloc",
        "SHOUT_EXAMPLES": "2000",
    }
    built = "import shout._capitals, shout.udp._mmsg"
    session.run("python", "-c", built, env=environment)
    session.run(*TRIAL, *(session.posargs or NATIVE), env=environment)


@nox.session
@nox.parametrize("host", [nox.param(name, id=name) for name in HOSTS])
def sdist(session: nox.Session, host: str) -> None:
    """
    Run the tests of the sdist, with the lowest Twisted or in a special host.
    """
    twisted = SETUP["options"]["install_requires"].strip()
    if host == "lowest":
        twisted = twisted.replace(">=", "==")
    directory = unpack(session)
    choice = {"SHOUT_BUILD_EXTENSION": "no"} if host == "withoutExtension" else {}
    session.install("-e", ".[test]", twisted, env=choice)
    environment = {}
    if host == "asNobody":
        # What root has installed for itself is closed to others.
        environment = {"HOME": directory, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        session.run("chown", "-R", "nobody:", ".", external=True)
    command = (*HOSTS[host], *TRIAL, *(session.posargs or ALL))
    session.run(*command, env=environment, external=True)

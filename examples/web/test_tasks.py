"""What the tasks of this project do; see README.md."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).parent
HOSTS = os.environ.get("INVOKE_PARAMGMT_HOSTS")


def inv(*words, **env):
    """Run `inv` in this folder: exit status, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=HERE,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


class OnTheList(unittest.TestCase):
    """Without touching a server."""

    def test_its_tasks_stand_beside_the_others(self):
        _, out, _ = inv("--list")
        for name in ("deploy", "status", "clean", "paramgmt.rcmd", "paramgmt.runs.show"):
            self.assertIn(f"  {name}", out)

    def test_the_configuration_names_the_hosts(self):
        code, out, err = inv("paramgmt.rcmd", "--dry-run", "cat ?NAME", INVOKE_PARAMGMT_HOSTS="web")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out.splitlines()[0], "rcmd [web01.example.org]: cat shop")
        self.assertEqual(out.splitlines()[2], "rcmd [web03.example.org]: cat blog")


@unittest.skipUnless(HOSTS, "INVOKE_PARAMGMT_HOSTS names no servers to try it on")
class OnServers(unittest.TestCase):
    """On real ones."""

    def tearDown(self):
        self.assertEqual(inv("clean")[0], 0)

    def test_a_site_is_deployed(self):
        code, out, err = inv("deploy", "status")
        self.assertEqual((code, err.count("failed")), (0, 1), err)
        self.assertIn("active on ", out)
        self.assertIn(": version = 7\n", out)
        self.assertIn(" servers are up\n", out)

    def test_a_server_that_fails_is_told(self):
        code, _, err = inv("status")
        self.assertEqual(code, 1)
        self.assertIn("return code 1", err)


if __name__ == "__main__":
    unittest.main()

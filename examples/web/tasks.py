"""Tasks of a project that looks after web servers, beside those of paramgmt-tasks."""

from invoke import Collection, task

import paramgmt_tasks
from paramgmt_tasks.tasks import rcmd, rpush, rscript

SITE = "paramgmt-example-?NAME"


@task
def deploy(c):
    """Push the site to all web servers and turn it on: one server first, then the others."""
    rcmd(c, f"mkdir -p {SITE}", quiet=True)
    rpush(c, ["site.conf"], destination=f"{SITE}/", changed=True, quiet=True)
    rscript(c, ["activate.sh"], canary=1)


@task
def status(c):
    """Say which servers serve what: servers that say the same stand together."""
    report = rcmd(c, f"cat {SITE}/active", gather=True)
    print(f"{len(report)} servers are up")


@task
def clean(c):
    """Take the site off all web servers."""
    rcmd(c, f"rm -rf {SITE}", quiet=True)


ns = Collection(deploy, status, clean)
ns.add_collection(paramgmt_tasks.namespace, "paramgmt")
ns.configure({"paramgmt": {"timeout": 60}})

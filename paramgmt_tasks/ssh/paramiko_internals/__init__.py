"""paramiko, taken apart: the only place that touches what it keeps private."""

#!/bin/sh
# ?NAME is what the host list says of each server.
cd paramgmt-example-?NAME && sed 's/^/?NAME: /' site.conf >active && echo "active on ?HOST"

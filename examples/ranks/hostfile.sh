#!/bin/sh
# One line for each host, as mpirun --hostfile takes it.
echo ?ALL | tr , '\n' >ranks/hostfile && echo "?COUNT hosts, the first is ?FIRST"

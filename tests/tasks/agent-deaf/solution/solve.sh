#!/bin/bash
# Hostile on purpose: ignores TERM, as does its child, which ends only with the process group.
trap '' TERM INT HUP
echo "$$" > /tmp/deaf.pid
bash -c 'trap "" TERM; exec -a hostile-deaf sleep 1000' &
while :; do sleep 0.1; done

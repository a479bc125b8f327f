#!/bin/bash
# Hostile on purpose: leaves a process of another session, and one whose parents have ended, both
# deaf to TERM and with the agent's output still open.
setsid bash -c 'trap "" TERM; exec -a hostile-session sleep 1000' &
(bash -c 'trap "" TERM HUP; exec -a hostile-orphan sleep 1000' & exit) &
until grep -zqs hostile-session /proc/[0-9]*/cmdline && grep -zqs hostile-orphan /proc/[0-9]*/cmdline; do sleep 0.05; done
echo launched

#!/bin/bash
# Hostile on purpose: deaf to TERM, with children in its own and in another session.
trap '' TERM
bash -c 'trap "" TERM; exec -a hostile-test-child sleep 1000' &
setsid bash -c 'trap "" TERM; exec -a hostile-test-session sleep 1000' &
while :; do sleep 0.1; done

#!/bin/bash
# Hostile on purpose: prints without end, and leaves a writer that goes on while logs are kept.
setsid bash -c 'exec -a hostile-writer sh -c "while :; do head -c 65536 /dev/zero >> /logs/agent/endless.bin; sleep 0.01; done"' &
while :; do head -c 1048576 /dev/zero | tr '\0' x; echo; sleep 0.05; done

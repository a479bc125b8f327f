#!/bin/bash
# Reward 1 if the services live on, as under Harbor.
if grep -zqs hostile-session /proc/[0-9]*/cmdline && grep -zqs hostile-orphan /proc/[0-9]*/cmdline; then
    echo 1 > /logs/verifier/reward.txt
else
    echo 0 > /logs/verifier/reward.txt
fi

#!/bin/bash
# Reward 1 if it runs for the first time; it runs until /tmp/go is there.
echo run >> /tmp/test-runs
touch /tmp/waiting
while [ ! -e /tmp/go ]; do sleep 0.05; done
test "$(wc -l < /tmp/test-runs)" = 1 && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

#!/bin/bash
# Reward 1 if hello.txt holds the line that was asked for, once /tmp/go is there.
touch /tmp/waiting
while [ ! -e /tmp/go ]; do sleep 0.05; done
grep -qx 'Hello, world!' hello.txt && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

#!/bin/bash
# Reward 1 if the service that the agent left running does what was asked.
reward=0
if timeout 50 python3 /tests/check.py; then
    reward=1
fi
echo "$reward" > /logs/verifier/reward.txt

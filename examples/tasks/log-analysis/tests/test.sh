#!/bin/bash
# Reward 1 if every fact in report.json is right and nothing else is in it.
reward=0
if python3 /tests/check.py; then
    reward=1
fi
echo "$reward" > /logs/verifier/reward.txt

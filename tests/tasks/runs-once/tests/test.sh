#!/bin/bash
# Reward 1 if the agent ran exactly once.
test "$(cat /tmp/agent-runs)" = ran && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

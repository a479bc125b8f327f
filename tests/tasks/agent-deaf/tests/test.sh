#!/bin/bash
# Reward 1 if the agent ran and nothing of it is left.
kill -0 "$(cat /tmp/deaf.pid)" 2>/dev/null || alive=no
grep -zqs hostile-deaf /proc/[0-9]*/cmdline || child=no
test -s /tmp/deaf.pid && test "$alive$child" = nono && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

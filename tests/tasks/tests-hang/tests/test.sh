#!/bin/bash
# Hangs on purpose, after a reward that must not count.
echo 1 > /logs/verifier/reward.txt
echo waiting
exec -a hostile-test sleep 1000

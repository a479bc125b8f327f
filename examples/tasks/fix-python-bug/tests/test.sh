#!/bin/bash
# Reward 1 if the package agrees with a slow but plain model of it on many inputs. The checks are
# the verifier's own: the tests in the work directory may have been changed.
reward=0
if PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1 timeout 60 python3 /tests/check.py; then
    reward=1
fi
echo "$reward" > /logs/verifier/reward.txt

#!/bin/bash
# Not executable, on purpose. Reward 1 if the solution has run, and nothing made its work anew.
reward=0
if [ "$PWD" = / ] && [ ! -e /app ] && [ -e /srv/out/1099.py ]; then
    reward=1
fi
echo "$reward" > /logs/verifier/reward.txt

#!/bin/bash
# Reward 1 if hello.txt holds exactly the line that was asked for.
reward=0
if [ -f hello.txt ] && printf 'Hello, world!\n' | cmp - hello.txt; then
    reward=1
fi
echo "$reward" > /logs/verifier/reward.txt

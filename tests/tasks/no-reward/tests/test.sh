#!/bin/bash
# Broken on purpose: checks the work and writes no reward.
printf 'Hello, world!\n' | cmp - hello.txt

#!/bin/bash
mkdir -p /logs/verifier
if grep -q '^It is' /app/time.txt; then echo 1; else echo 0; fi > /logs/verifier/reward.txt

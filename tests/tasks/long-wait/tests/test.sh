#!/bin/bash
grep -qx went /app/done.txt 2>/dev/null && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

#!/bin/bash
# Reward 1 if the edit is still there.
grep -qx edited notes.txt && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt

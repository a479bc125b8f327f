#!/bin/bash
# Reward 1 if answers and database are right; reward.json also says which of the two were.
python3 /tests/check.py > /logs/verifier/reward.json

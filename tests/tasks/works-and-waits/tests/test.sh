#!/bin/bash
if [ -e /app/first.txt ] && [ -e /app/second.txt ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt

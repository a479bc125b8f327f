#!/bin/bash
# Reward 1 if the solution has run once; does what the solution did.
rm -rf /tmp/*
until compgen -G '/tmp/job_*.launch/pid' > /dev/null; do sleep 0.1; done
grep -cx run /srv/runs > /logs/verifier/reward.txt

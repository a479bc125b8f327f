#!/bin/bash
# Wrong on purpose: the tests must give reward 0.
printf 'Hello, moon!\n' > greeting.txt

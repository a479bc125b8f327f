#!/bin/bash
set -eu
printf 'Hello, world!\n' > hello.txt

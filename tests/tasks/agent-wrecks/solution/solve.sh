#!/usr/bin/env python3
# Not executable, and no shell script: whoever runs it has to make it executable and run it itself.
import os
import shutil
from pathlib import Path

out = Path("/srv/out")
out.mkdir(parents=True)
for number in range(1100):
    (out / f"{number}.py").touch()
work = os.getcwd()
os.chdir("/")
shutil.rmtree(work)

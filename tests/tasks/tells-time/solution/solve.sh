#!/bin/bash
date +"It is %M past the hour and %S seconds." > /app/time.txt

#!/bin/bash
echo ran >> /tmp/agent-runs

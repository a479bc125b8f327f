#!/bin/bash
echo edited > notes.txt

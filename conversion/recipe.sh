#!/usr/bin/env bash
# Convert one model and verify the result: recipe.sh SRC DST
set -euo pipefail
if [ $# -ne 2 ]; then
  echo "usage: recipe.sh SRC DST (SRC: an HF folder or id, or a GGUF file; DST: a new folder)" >&2
  exit 2
fi
landed info "$1"
landed convert "$1" "$2"
reference=$1
if [ -f "$1" ]; then
  reference=$2-hf
  landed convert "$1" "$reference" --hf
fi
if [ -d "$reference" ] && python -c 'import torch' 2>/dev/null; then
  landed verify "$2" --against "$reference"
fi

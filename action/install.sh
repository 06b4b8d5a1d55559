#!/usr/bin/env bash
# Installs robaudit with pip. Inputs come from the environment alone, so that nothing in them is read as shell code.
set -euo pipefail

more=()
while IFS= read -r line; do
    [[ -z $line ]] || more+=("$line")
done <<<"${ROBAUDIT_ACTION_PIP_ARGS:-}"

python -m pip install --disable-pip-version-check "${more[@]}" -- "${ROBAUDIT_ACTION_INSTALL:-$ROBAUDIT_ACTION_PATH}"

#!/usr/bin/env bash
# Scans each model, writes the job summary and the outputs of the action, and leaves the verdict to the step after it.
# Inputs come from the environment alone, so that nothing in them is read as shell code.
set -uo pipefail

# robaudit refuses variables of its own prefix that it does not know: take ours out of the environment.
models=${ROBAUDIT_ACTION_MODEL:-} reports=${ROBAUDIT_ACTION_REPORT_DIR:-robaudit-report}
declare -A flags=(
    [--data]=${ROBAUDIT_ACTION_DATA:-}
    [--profile]=${ROBAUDIT_ACTION_PROFILE:-}
    [--min-robust]=${ROBAUDIT_ACTION_MIN_ROBUST:-}
    [--baseline]=${ROBAUDIT_ACTION_BASELINE:-}
    [--time-budget]=${ROBAUDIT_ACTION_TIME_BUDGET:-}
)
more=${ROBAUDIT_ACTION_ARGS:-}
unset "${!ROBAUDIT_ACTION_@}"

arguments=()
for flag in --data --profile --min-robust --baseline --time-budget; do
    [[ -z ${flags[$flag]} ]] || arguments+=("$flag=${flags[$flag]}")
done
while IFS= read -r line; do
    [[ -z $line ]] || arguments+=("$line")
done <<<"$more"

summary=${GITHUB_STEP_SUMMARY:-/dev/null} outputs=${GITHUB_OUTPUT:-/dev/null}
mkdir -p -- "$reports/sarif" || exit 3
reports=$(cd -- "$reports" && pwd)

worst=0 number=0
# From good to bad: 0 pass, 4 inconclusive, 1 a gate failed, 3 incomplete or invalid, anything else.
rank() { case $1 in 0) echo 0 ;; 4) echo 1 ;; 1) echo 2 ;; 3) echo 3 ;; *) echo 4 ;; esac; }

while IFS= read -r model; do
    [[ -n $model ]] || continue
    number=$((number + 1))
    name=$(basename -- "$model")
    name=$number-${name//[^A-Za-z0-9._-]/_}
    echo "::group::robaudit scan ($number)"
    rm -f -- "$reports/$name".{json,md,html,xml,csv,log} "$reports/sarif/$name.sarif" # of an earlier run
    {
        robaudit scan "${arguments[@]}" --run-dir="$reports/$name" \
            --output="$reports/$name.json" --output="$reports/$name.md" --output="$reports/$name.html" \
            --output="$reports/$name.xml" --output="$reports/$name.csv" --output="$reports/sarif/$name.sarif" \
            -- "$model" 2>&1 >&3 3>&- | tee -- "$reports/$name.log" >&2
        code=${PIPESTATUS[0]}
    } 3>&1
    echo "::endgroup::"
    if [[ -f $reports/$name.md ]]; then
        cat -- "$reports/$name.md" >>"$summary"
    else
        { # indented by four, a line is code in Markdown, whatever it holds
            printf '\n### robaudit: no report (exit code %d)\n\n' "$code"
            tail -n 5 -- "$reports/$name.log" | tr -d '\r' | sed 's/^/    /'
            printf '\n'
        } >>"$summary"
    fi
    if (($(rank "$code") > $(rank "$worst"))); then worst=$code; fi
done <<<"$models"

if ((number == 0)); then
    echo "robaudit: no model was named" >&2
    worst=2
fi
sarif=
if compgen -G "$reports/sarif/*.sarif" >/dev/null; then sarif=$reports/sarif; fi
{
    printf 'exit-code=%d\n' "$worst"
    printf 'report-dir=%s\n' "${reports//[$'\r\n']/}"
    printf 'sarif=%s\n' "${sarif//[$'\r\n']/}"
} >>"$outputs"

#!/usr/bin/env bash
# Lints workflows, examples, action.yml, the Dockerfile and shell scripts. Needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for tool in actionlint zizmor hadolint shellcheck check-jsonschema gate; do
    command -v "$tool" > /dev/null || missing+=("$tool")
done
if ((${#missing[@]})); then
    echo "lint-actions: not installed: ${missing[*]}; run \`make lint\`, which installs them (pip install -e '.[dev]')" >&2
    exit 2
fi

mapfile -t examples < <(grep -l '^on:' examples/*.yml)
workflows=(.github/workflows/*.yml "${examples[@]}")
mapfile -t configs < <(grep -l '^version: 1' examples/*.yml)
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)

echo "actionlint: ${#workflows[@]} workflows"
actionlint -config-file .github/actionlint.yaml "${workflows[@]}"
echo "zizmor"
zizmor --offline --quiet --config .github/zizmor.yml "${workflows[@]}" action.yml bare/action.yml
echo "check-jsonschema"
check-jsonschema --quiet --builtin-schema vendor.github-workflows "${workflows[@]}"
check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml bare/action.yml
check-jsonschema --quiet --builtin-schema vendor.gitlab-ci examples/gitlab-ci.yml
schema=$(mktemp)
trap 'rm -f "$schema"' EXIT
gate schema > "$schema"
check-jsonschema --quiet --schemafile "$schema" "${configs[@]}"
echo "hadolint"
hadolint Dockerfile
echo "shellcheck: ${#scripts[@]} scripts"
shellcheck "${scripts[@]}"

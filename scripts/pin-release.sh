#!/usr/bin/env bash
# Pins the images and the code in action.yml and the reusable workflow; run by the release.
#
#     scripts/pin-release.sh IMAGE DIGEST-OF-CUDA DIGEST-OF-CPU COMMIT
set -euo pipefail
image=$1 cuda=$2 cpu=$3 commit=$4
cd "$(dirname "$0")/.."
workflow=.github/workflows/gate.yml

sed --in-place "s#^  image: Dockerfile\$#  image: docker://$image@$cuda#" action.yml
sed --in-place --expression "s#$image:v1-cpu#$image@$cpu#g" --expression "s#$image:v1#$image@$cuda#g" \
    --expression "s#github.com/quantgate/quantgate@main#github.com/quantgate/quantgate@$commit#" "$workflow"

# each replacement must have happened, and no tag may be left
grep --quiet --fixed-strings --line-regexp "  image: docker://$image@$cuda" action.yml
for text in "$image@$cpu" "$image@$cuda" "quantgate/quantgate@$commit"; do
    grep --quiet --fixed-strings "$text" "$workflow"
done
if grep --invert-match '^#' "$workflow" | grep --extended-regexp "$image:|quantgate@(main|v[0-9])"; then
    echo "$workflow still has a tag or a branch" >&2
    exit 1
fi

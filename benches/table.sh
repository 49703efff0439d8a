#!/usr/bin/env bash
# Prints every stage with its lower bound, both from the same run, then whole runs: all results of
# docs/performance.md. Arguments go to the whole runs (`--quick`, `--case`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# bench | its path in the output | the bound's path | the stage | work that the bound leaves out
pairs='chunk|mixed/sentence|mixed/lower_bound|sentence chunks|cleaning, cutting, fitting
chunk|mixed/secrets|mixed/lower_bound|scanner for secrets|keywords, rules
chunk|markdown/markdown|markdown/lower_bound|Markdown chunks|cleaning, block structure, fitting
chunk|code/code|code/bare_parse|code chunks|cleaning, packing, fitting
embed|wire/answer_100x1536_base64|wire/bound_base64_alone|embedding answer|the JSON around
embed|queue/overhead_of_10_000_texts|queue/bound_keys_of_10_000_texts|embedding queue|batches, tasks, channels
embed|cache/get_1000/1536|cache/bound_copy_1000_vectors|vector cache, 1,000 read|SQLite, checksums
embed|cache/get_1000/1536|cache/bound_rows_1000/1536|  beside those rows by SQL|the check, marks of use
ledger|record_1000_files|bound_one_transaction_of_plain_rows|ledger, 1,000 files|foreign keys, indexes, open intents, old rows
store|insert_10_000|insert_10_000_plain_rows|SQLite store, 10,000 written|full-text index, keys
store|insert_10_000|insert_10_000_rows_and_words|  beside rows and FTS5|three tables, two keys, words in parts
store|query_vectors/10000|query_products_in_memory/10000|SQLite store, nearest of 10,000|reading the vectors from the file
store|query_vectors/10000|query_products_of_rows/10000|  beside every row by SQL|ranking, the records found
store|pinecone_upsert_bodies|pinecone_numbers_as_json|Pinecone bodies, 100 vectors|metadata
socket|upsert_1000|bound_raw_socket|Pinecone, 1,000 over HTTP|writing the bodies, HTTP, the runtime'

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
benches=$(cut -d'|' -f1 <<<"$pairs" | sort -u)
for bench in $benches; do
  cargo bench --locked --quiet --bench "$bench" >"$folder/$bench"
done

# The fastest time of every benchmark of an output in milliseconds, by its path in the tree, which is
# indented by three columns per level.
fastest() {
  sed -e 's/├─/+-/' -e 's/╰─/+-/' -e 's/│/|/g' -e 's/µs/us/g' "$1" | awk '
    BEGIN { unit["ns"] = 1e-6; unit["us"] = 1e-3; unit["ms"] = 1; unit["s"] = 1e3 }
    !/[+]- / { next }
    {
      match($0, /[+]- /); level = int((RSTART - 1) / 3)
      split(substr($0, RSTART + RLENGTH), field, /[ |]+/)
      name[level] = field[1]; place = name[0]
      for (n = 1; n <= level; n++) place = place "/" name[n]
      if (field[2] + 0 > 0 && field[3] in unit) print place, field[2] * unit[field[3]]
    }'
}

printf '%-32s%12s%12s%8s  %s\n' stage 'time ms' 'bound ms' times 'not in the bound'
while IFS='|' read -r bench place bound what left_out; do
  fastest "$folder/$bench" >"$folder/times"
  time_of() { awk -v place="$1" '$1 == place { print $2; found = 1 } END { exit !found }' "$folder/times"; }
  ours=$(time_of "$place") || { echo "no figure for $bench $place" >&2; exit 1; }
  least=$(time_of "$bound") || { echo "no figure for $bench $bound" >&2; exit 1; }
  awk -v what="$what" -v ours="$ours" -v least="$least" -v left="$left_out" \
    'BEGIN { printf "%-32s%12.3f%12.3f%8.2f  %s\n", what, ours, least, ours / least, left }'
done <<<"$pairs"

printf '\n'
cargo bench --locked --quiet --bench run -- "$@"

/* A chunker component for RepoSync: a chunk starts at every line with a marker. */
#include "reposync_chunker.h"

const reposync_info chunker_info = {
  .name = "{{name}}",
  .version = "0.1.0",
  .summary = "Starts a chunk at every line with a marker.",
  .extensions = (const char *const[]){ ".txt", NULL },
  .config_schema =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"marker\":{\"type\":\"string\",\"default\":\"## \",\"description\":"
    "\"A chunk starts at each line that starts with this text.\"}}}",
};

/* State that outlives a call must be in static variables: memory is freed after every call. */
static char marker[64] = "## ";
static size_t marker_len = 3;

/* Called once. False refuses the configuration, for the problems added. */
bool chunker_configure(reposync_text json, reposync_diagnostics *problems) {
  reposync_text key, value;
  bool fine = true;
  while (reposync_next_key(&json, &key, &value)) {
    reposync_text text;
    if (!reposync_equal(key, "marker")) {
      fine = reposync_refuse(problems, key, REPOSYNC_TEXT("unknown key, expected marker"));
    } else if (!reposync_json_string(value, &text) || text.len == 0 || text.len > sizeof marker) {
      fine = reposync_refuse(problems, key, REPOSYNC_TEXT("set the text that the first line of a chunk starts with, up to 64 bytes"));
    } else {
      memcpy(marker, text.ptr, text.len);
      marker_len = text.len;
    }
  }
  return fine;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

static bool starts_with_marker(reposync_text text, size_t at) {
  return text.len - at >= marker_len && memcmp(text.ptr + at, marker, marker_len) == 0;
}

/* The offset after the line that starts at `at`. */
static size_t behind_line(reposync_text text, size_t at) {
  const char *line_feed = memchr(text.ptr + at, '\n', text.len - at);
  return line_feed ? (size_t)(line_feed - text.ptr) + 1 : text.len;
}

/* Adds a section without trailing white space. */
static void add(reposync_chunks *chunks, reposync_text text, size_t start, size_t end) {
  while (end > start && is_space(text.ptr[end - 1])) end--;
  if (end == start) return;
  reposync_chunk *chunk = reposync_add_slice(chunks, start, end);
  chunk->kind = reposync_some(REPOSYNC_TEXT("section"));
  if (!starts_with_marker(text, start)) return;
  size_t from = start + marker_len, to = behind_line(text, start);
  while (from < to && is_space(text.ptr[from])) from++;
  while (to > from && is_space(text.ptr[to - 1])) to--;
  if (to > from) chunk->name = reposync_some((reposync_text){ text.ptr + from, to - from });
}

/* Called for every document. REPOSYNC_NOT_MINE leaves it to the next chunker. */
reposync_outcome chunker_split(const reposync_document *document, reposync_chunks *chunks,
                               reposync_diagnostics *problems) {
  (void)problems;
  reposync_text text = document->text;
  size_t start = 0;
  for (size_t at = 0; at < text.len; at = behind_line(text, at)) {
    if (at > start && starts_with_marker(text, at)) {
      add(chunks, text, start, at);
      start = at;
    }
  }
  add(chunks, text, start, text.len);
  return REPOSYNC_SPLIT;
}

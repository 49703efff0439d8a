/* SQL scripts and migrations: one chunk per statement, with the comment in front of it.
 *
 * A single pass without a grammar: it only has to find where a statement ends, in the dialects of
 * PostgreSQL, MySQL, SQLite and SQL Server, and to read its first words.
 */
#include "reposync_chunker.h"

/* ---- Configuration ---------------------------------------------------------------------------- */

static uint32_t group_size = 1000;
static bool backslash_escapes = false;

const reposync_info chunker_info = {
  .name = "sql",
  .version = "0.1.0",
  .summary = "SQL scripts and migrations: one chunk a statement, named after its object.",
  .extensions = (const char *const[]){ ".sql", ".ddl", NULL },
  .config_schema =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"group_size\":{\"type\":\"integer\",\"minimum\":0,\"default\":1000,\"description\":"
    "\"Neighbouring statements of one kind on one object (rows of INSERT) share a chunk up to so many bytes; 0 keeps every statement apart.\"},"
    "\"backslash_escapes\":{\"type\":\"boolean\",\"default\":false,\"description\":"
    "\"A backslash escapes a quote inside a string, as in MySQL.\"}}}",
};

bool chunker_configure(reposync_text json, reposync_diagnostics *problems) {
  reposync_text key, value;
  bool fine = true;
  while (reposync_next_key(&json, &key, &value)) {
    if (reposync_equal(key, "group_size")) {
      if (!reposync_whole_number(value, &group_size))
        fine = reposync_refuse(problems, key, REPOSYNC_TEXT("write a number of bytes, such as 1000"));
    } else if (reposync_equal(key, "backslash_escapes")) {
      backslash_escapes = reposync_equal(value, "true");
      if (!backslash_escapes && !reposync_equal(value, "false"))
        fine = reposync_refuse(problems, key, REPOSYNC_TEXT("write true or false"));
    } else {
      fine = reposync_refuse(problems, key,
                             REPOSYNC_TEXT("unknown key, expected `group_size` or `backslash_escapes`"));
    }
  }
  return fine;
}

/* ---- Tokens ----------------------------------------------------------------------------------- */

typedef struct { const char *text; size_t at, len; } scanner;

enum token { END, SPACE, COMMENT, WORD, QUOTED, SEMICOLON, OTHER };

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

/* The offset after the next `mark`, or the end of the text. */
static size_t behind(const scanner *s, size_t from, const char *mark, size_t mark_len) {
  for (size_t at = from; at + mark_len <= s->len; at++) {
    const char *hit = memchr(s->text + at, mark[0], s->len - at - mark_len + 1);
    if (!hit) break;
    at = (size_t)(hit - s->text);
    if (memcmp(hit, mark, mark_len) == 0) return at + mark_len;
  }
  return s->len;
}

/* The offset after the quoted text whose opening quote is at `from`. */
static size_t behind_quote(const scanner *s, size_t from, bool escapes) {
  char quote = s->text[from];
  for (size_t at = from + 1; at < s->len; at++) {
    if (escapes && s->text[at] == '\\') at++;
    else if (s->text[at] == quote) {
      if (at + 1 >= s->len || s->text[at + 1] != quote) return at + 1;
      at++;
    }
  }
  return s->len;
}

/* The offset after `$tag$ … $tag$`, or `from` if no dollar quote opens there. */
static size_t behind_dollars(const scanner *s, size_t from) {
  size_t at = from + 1;
  while (at < s->len && is_word(s->text[at])) at++;
  if (at >= s->len || s->text[at] != '$') return from;
  if (at > from + 1 && s->text[from + 1] >= '0' && s->text[from + 1] <= '9') return from;
  return behind(s, at + 1, s->text + from, at + 1 - from);
}

/* Consumes one token and returns its kind; it spans from the old `at` to the new one. */
static enum token next(scanner *s) {
  if (s->at >= s->len) return END;
  size_t from = s->at;
  char c = s->text[from], after = from + 1 < s->len ? s->text[from + 1] : 0;
  if (is_space(c)) {
    while (s->at < s->len && is_space(s->text[s->at])) s->at++;
    return SPACE;
  }
  if (c == '-' && after == '-') {
    s->at = behind(s, from, "\n", 1);
    return COMMENT;
  }
  if (c == '/' && after == '*') {
    s->at = behind(s, from + 2, "*/", 2);
    return COMMENT;
  }
  if (c == '\'' || c == '"' || c == '`') {
    bool prefixed = from > 0 && (s->text[from - 1] == 'E' || s->text[from - 1] == 'e') &&
                    (from < 2 || !is_word(s->text[from - 2]));
    s->at = behind_quote(s, from, c != '`' && (backslash_escapes || (c == '\'' && prefixed)));
    return QUOTED;
  }
  if (c == '$' && (from == 0 || !is_word(s->text[from - 1]))) {
    s->at = behind_dollars(s, from);
    if (s->at > from) return QUOTED;
  }
  if (is_word(c)) {
    while (s->at < s->len && is_word(s->text[s->at])) s->at++;
    return WORD;
  }
  s->at = from + 1;
  return c == ';' ? SEMICOLON : OTHER;
}

/* Compares a word with a lower-case one, ignoring case. */
static bool says(reposync_text word, const char *lower) {
  for (size_t i = 0; i < word.len; i++) {
    char c = word.ptr[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
    if (!lower[i] || c != lower[i]) return false;
  }
  return !lower[word.len];
}

static bool says_one_of(reposync_text word, const char *const *words) {
  for (; *words; words++)
    if (says(word, *words)) return true;
  return false;
}

/* ---- The head of a statement: its first words --------------------------------------------------- */

typedef struct {
  size_t start, end;            /* byte range, including the comments in front of it */
  reposync_text verb, object;   /* `create`, `table`; as written */
  size_t name_start, name_end;  /* the object's name, with its schema */
  bool bare;                    /* only comments */
} statement;

static const char *const QUALIFIERS[] = {
  "or", "replace", "temp", "temporary", "unlogged", "unique", "global", "local", "materialized",
  "recursive", "external", "foreign", "clustered", "nonclustered", "constraint", "fulltext", "spatial", NULL };
static const char *const FILLERS[] = { "if", "not", "exists", "concurrently", "only", "into", "from", "table", "on", NULL };
static const char *const OBJECT_VERBS[] = { "create", "alter", "drop", NULL };
static const char *const NAMED_VERBS[] = { "insert", "update", "delete", "copy", "truncate", "merge", "replace", NULL };
static const char *const BLOCKS[] = { "trigger", "procedure", "function", "event", "package", NULL };
static const char *const AFTER_END[] = { "if", "loop", "while", "repeat", "for", NULL };

/* Records a word of the statement's head. */
static void read_head(statement *it, reposync_text word, size_t at, bool quoted) {
  if (!it->verb.len) {
    if (!quoted) it->verb = word;
    return;
  }
  if (it->name_end) return;
  if (says_one_of(it->verb, OBJECT_VERBS) && !it->object.len) {
    if (!quoted && !says_one_of(word, QUALIFIERS)) it->object = word;
    return;
  }
  if (!it->object.len && !says_one_of(it->verb, NAMED_VERBS)) return;
  if (quoted || !says_one_of(word, FILLERS)) {
    it->name_start = at;
    it->name_end = at + word.len;
  }
}

static reposync_text lower(reposync_text word) {
  char *copy = reposync_alloc(word.len);
  for (size_t i = 0; i < word.len; i++) {
    char c = word.ptr[i];
    copy[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
  }
  return (reposync_text){ copy, word.len };
}

static reposync_text joined(reposync_text one, reposync_text two) {
  char *text = reposync_alloc(one.len + 1 + two.len);
  memcpy(text, one.ptr, one.len);
  text[one.len] = ' ';
  memcpy(text + one.len + 1, two.ptr, two.len);
  return (reposync_text){ text, one.len + 1 + two.len };
}

static reposync_text unquoted(reposync_text name) {
  char *copy = reposync_alloc(name.len);
  size_t len = 0;
  for (size_t i = 0; i < name.len; i++)
    if (name.ptr[i] != '"' && name.ptr[i] != '`' && name.ptr[i] != '[' && name.ptr[i] != ']') copy[len++] = name.ptr[i];
  return (reposync_text){ copy, len };
}

/* ---- The end of a statement --------------------------------------------------------------------- */

typedef struct { const char *ptr; size_t len; } delimiter;

/* The end of the line that contains `at`, without its line feed. */
static size_t line_end(const scanner *s, size_t at) {
  size_t end = behind(s, at, "\n", 1);
  return end > at && s->text[end - 1] == '\n' ? end - 1 : end;
}

static bool at_line_start(const scanner *s, size_t at) {
  while (at > 0 && (s->text[at - 1] == ' ' || s->text[at - 1] == '\t')) at--;
  return at == 0 || s->text[at - 1] == '\n';
}

/* True if only blanks follow `at` on its line. */
static bool line_is_over(const scanner *s, size_t at) {
  while (at < s->len && (s->text[at] == ' ' || s->text[at] == '\t')) at++;
  return at >= s->len || s->text[at] == '\n';
}

/* Consumes one statement; false if only white space is left. */
static bool take(scanner *s, delimiter *ends_with, statement *it) {
  memset(it, 0, sizeof *it);
  it->bare = true;
  int depth = 0;
  bool block = false, after_end = false, from_stdin = false, named = false;
  bool started = false;
  for (;;) {
    size_t from = s->at;
    if (!it->bare && ends_with->len && s->len - from >= ends_with->len &&
        memcmp(s->text + from, ends_with->ptr, ends_with->len) == 0) {
      s->at = it->end = from + ends_with->len;
      return true;
    }
    enum token token = next(s);
    if (token == END) return started;
    if (token == SPACE) continue;
    if (!started) {
      started = true;
      it->start = from;
    }
    it->end = s->at;
    if (token == COMMENT) continue;
    reposync_text word = { s->text + from, s->at - from };
    if (token == WORD && it->bare && says(word, "delimiter") && at_line_start(s, from)) {
      size_t end = line_end(s, s->at), start = s->at;
      while (start < end && is_space(s->text[start])) start++;
      size_t stop = end;
      while (stop > start && is_space(s->text[stop - 1])) stop--;
      *ends_with = (delimiter){ s->text + start, stop - start };
      if (ends_with->len == 1 && *ends_with->ptr == ';') ends_with->len = 0;
      s->at = it->end = end;
      continue;
    }
    if (token == WORD && says(word, "go") && at_line_start(s, from) && line_is_over(s, s->at)) return true;
    it->bare = false;
    if (token == SEMICOLON) {
      if (ends_with->len || depth > 0) continue;
      if (from_stdin && says(it->verb, "copy")) {
        s->at = behind(s, s->at, "\n\\.\n", 4);
        it->end = s->at > 0 && s->text[s->at - 1] == '\n' ? s->at - 1 : s->at;
      }
      return true;
    }
    if (token == WORD || (token == QUOTED && *word.ptr != '\'' && *word.ptr != '$')) {
      bool had_name = it->name_end != 0;
      /* `schema.table`: the part after the dot belongs to the name. */
      if (named && it->name_end < from && s->text[from - 1] == '.') it->name_end = s->at;
      else read_head(it, word, from, token == QUOTED);
      named = it->name_end == s->at || (named && had_name && it->name_end == s->at);
    } else if (!(token == OTHER && *word.ptr == '.' && named)) {
      named = false;
    }
    if (token != WORD) {
      after_end = false;
      continue;
    }
    if (says(word, "stdin")) from_stdin = true;
    if (says(it->verb, "create") && says_one_of(word, BLOCKS)) block = true;
    if (!block || ends_with->len) continue;
    if (after_end && says_one_of(word, AFTER_END)) depth++;
    else if (!after_end && (says(word, "begin") || says(word, "case"))) depth++;
    else if (says(word, "end") && depth > 0) depth--;
    after_end = says(word, "end");
  }
}

/* ---- Chunks ------------------------------------------------------------------------------------ */

static bool same(reposync_optional_text one, reposync_optional_text two) {
  return one.is_some == two.is_some &&
         (!one.is_some || (one.value.len == two.value.len && memcmp(one.value.ptr, two.value.ptr, one.value.len) == 0));
}

static void add(reposync_chunks *chunks, reposync_text text, const statement *it) {
  reposync_text kind = it->bare || !it->verb.len ? REPOSYNC_TEXT("comment") : lower(it->verb);
  reposync_text object = it->object.len ? lower(it->object) : (reposync_text){ 0 };
  if (object.len) kind = joined(kind, object);
  reposync_optional_text name = { 0 };
  if (it->name_end) name = reposync_some(unquoted((reposync_text){ text.ptr + it->name_start, it->name_end - it->name_start }));
  name.is_some = name.value.len > 0;

  if (chunks->len) {
    reposync_chunk *before = &chunks->ptr[chunks->len - 1];
    reposync_span *span = &before->content.of.slice;
    if (same(before->kind, reposync_some(kind)) && same(before->name, name) && it->end - span->start <= group_size) {
      span->end = (uint32_t)it->end;
      return;
    }
  }
  reposync_chunk *chunk = reposync_add_slice(chunks, it->start, it->end);
  chunk->kind = reposync_some(kind);
  chunk->name = name;
  if (name.is_some) chunk->context = reposync_some(joined(kind, name.value));
  if (object.len) reposync_add_text(chunk, REPOSYNC_TEXT("object"), object);
}

reposync_outcome chunker_split(const reposync_document *document, reposync_chunks *chunks,
                               reposync_diagnostics *problems) {
  (void)problems;
  scanner s = { document->text.ptr, 0, document->text.len };
  delimiter ends_with = { 0 };
  statement it;
  while (take(&s, &ends_with, &it)) {
    /* A line comment includes its line feed. */
    while (it.end > it.start && is_space(s.text[it.end - 1])) it.end--;
    add(chunks, document->text, &it);
  }
  return REPOSYNC_SPLIT;
}

/* A chunker component for RepoSync in C or C++: everything an author needs, in one header.
 *
 * Define `chunker_info`, `chunker_configure` and `chunker_split` in one file that includes this
 * header, and compile it with `reposync plugin build`. The same file also compiles natively, so that
 * a chunker can be tested without WebAssembly. Requires C11 or C++11, or later.
 *
 * Offsets are bytes of the document's UTF-8 text, at character boundaries. The document, and all
 * memory from `reposync_alloc`, is valid until the call returns; keep data that must outlive a call
 * (the configuration) in static variables.
 */
#ifndef REPOSYNC_CHUNKER_H
#define REPOSYNC_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Types. On wasm32 their layout is that of the contract. ---------------------------------- */

/* A text as pointer and length in bytes; not NUL-terminated. */
typedef struct { const char *ptr; size_t len; } reposync_text;

/* Makes a text from a string literal. */
#ifdef __cplusplus
#define REPOSYNC_TEXT(literal) (reposync_text{ (literal), sizeof(literal) - 1 })
#else
#define REPOSYNC_TEXT(literal) ((reposync_text){ (literal), sizeof(literal) - 1 })
#endif

typedef struct { bool is_some; reposync_text value; } reposync_optional_text;

typedef struct { uint32_t start, end; } reposync_span;
typedef struct { bool is_some; reposync_span value; } reposync_optional_span;

typedef struct { reposync_text *ptr; size_t len; } reposync_texts;

enum { REPOSYNC_ATTR_TEXT, REPOSYNC_ATTR_NUMBER, REPOSYNC_ATTR_FLAG, REPOSYNC_ATTR_TEXTS };
typedef struct {
  reposync_text name;
  struct {
    uint8_t tag;
    union { reposync_text text; double number; bool flag; reposync_texts texts; } of;
  } value;
} reposync_attr;
typedef struct { reposync_attr *ptr; size_t len; } reposync_attrs;

/* A document to split. */
typedef struct {
  reposync_text path;              /* relative to the root of the repository */
  reposync_text text;              /* cleaned: no byte order mark, lines end in a line feed */
  reposync_text media_type;
  reposync_optional_text language;
  reposync_attrs attrs;
} reposync_document;

/* One passage to index. */
enum { REPOSYNC_SLICE, REPOSYNC_GENERATED };
typedef struct {
  struct {
    uint8_t tag;
    union { reposync_span slice; reposync_text generated; } of;
  } content;
  reposync_optional_text context;  /* heading path or signature, prepended for the embedding */
  reposync_optional_text kind;     /* kind of passage: `table`, `section` */
  reposync_optional_text name;     /* name of the symbol or section */
  reposync_attrs attrs;            /* additional metadata */
} reposync_chunk;
typedef struct { reposync_chunk *ptr; size_t len; size_t room; } reposync_chunks;

/* A message for the author of the configuration or document. */
enum { REPOSYNC_ERROR, REPOSYNC_WARNING, REPOSYNC_NOTE };
typedef struct {
  uint8_t severity;
  reposync_text code, message;
  reposync_optional_text pointer;  /* location in the configuration, as a JSON pointer */
  reposync_optional_span at;       /* or location in the document */
} reposync_diagnostic;
typedef struct { reposync_diagnostic *ptr; size_t len; size_t room; } reposync_diagnostics;

/* Metadata of the component. */
typedef struct {
  const char *name, *version, *summary;
  const char *const *extensions;   /* NULL-terminated: { ".sql", "Makefile", NULL } */
  const char *config_schema;       /* JSON Schema; "": nothing to configure */
} reposync_info;

/* Result of splitting a document. */
typedef enum {
  REPOSYNC_SPLIT,                  /* the chunks are in `chunks`; none: nothing to index */
  REPOSYNC_NOT_MINE,               /* declined: the next chunker of the pipeline gets it */
  REPOSYNC_BAD_DOCUMENT,           /* malformed: `problems` tells its author how to fix it */
  REPOSYNC_FAILED,                 /* the last problem's message is the reason */
} reposync_outcome;

/* ---- To be defined by the chunker. ----------------------------------------------------------- */

extern const reposync_info chunker_info;

/* Called once with the configuration, a JSON object. Returns false to refuse it, and adds problems. */
bool chunker_configure(reposync_text json, reposync_diagnostics *problems);

/* Splits one document. */
reposync_outcome chunker_split(const reposync_document *document, reposync_chunks *chunks,
                               reposync_diagnostics *problems);

/* ---- Functions for chunkers. ----------------------------------------------------------------- */

enum { REPOSYNC_LOG_TRACE, REPOSYNC_LOG_DEBUG, REPOSYNC_LOG_INFO, REPOSYNC_LOG_WARN, REPOSYNC_LOG_ERROR };

/* Writes a line to the engine's log; does nothing in a native build. */
void reposync_log(int level, reposync_text message);

/* Number of tokens of a text, as the embedder counts them; in a native build an estimate. A component that
 * calls this or the next function depends on the embedder: with another one its files are chunked again. */
uint32_t reposync_count_tokens(reposync_text text);

/* Maximum number of tokens of an embedder's input; returns false if no embedder is known. */
bool reposync_max_tokens(uint32_t *most);

/* Zeroed memory, valid until the call returns. Aborts the component if it is out of memory. */
static inline void *reposync_alloc(size_t size);

/* Makes a text from pointer and length. */
static inline reposync_text reposync_text_at(const char *ptr, size_t len) {
  reposync_text text;
  text.ptr = ptr;
  text.len = len;
  return text;
}

/* Copies a text; the copy is valid until the call returns. */
static inline reposync_text reposync_copy(reposync_text text) {
  char *copy = (char *)reposync_alloc(text.len);
  memcpy(copy, text.ptr, text.len);
  return reposync_text_at(copy, text.len);
}

static inline bool reposync_equal(reposync_text text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static inline reposync_optional_text reposync_some(reposync_text text) {
  reposync_optional_text some;
  some.is_some = true;
  some.value = text;
  return some;
}

static inline void *reposync_grown(void *old, size_t len, size_t *room, size_t size) {
  if (len < *room) return old;
  *room = *room ? *room * 2 : 32;
  void *grown = reposync_alloc(*room * size);
  if (len) memcpy(grown, old, len * size);
  return grown;
}

/* Adds a passage of the document, as a byte range. */
static inline reposync_chunk *reposync_add_slice(reposync_chunks *chunks, size_t start, size_t end) {
  chunks->ptr = (reposync_chunk *)reposync_grown(chunks->ptr, chunks->len, &chunks->room, sizeof *chunks->ptr);
  reposync_chunk *chunk = &chunks->ptr[chunks->len++];
  memset(chunk, 0, sizeof *chunk);
  chunk->content.tag = REPOSYNC_SLICE;
  chunk->content.of.slice.start = (uint32_t)start;
  chunk->content.of.slice.end = (uint32_t)end;
  return chunk;
}

/* Adds a text that is not part of the document. */
static inline reposync_chunk *reposync_add_generated(reposync_chunks *chunks, reposync_text text) {
  reposync_chunk *chunk = reposync_add_slice(chunks, 0, 0);
  chunk->content.tag = REPOSYNC_GENERATED;
  chunk->content.of.generated = text;
  return chunk;
}

static inline reposync_attr *reposync_add_attr(reposync_chunk *chunk, reposync_text name, uint8_t tag) {
  reposync_attr *attrs = (reposync_attr *)reposync_alloc((chunk->attrs.len + 1) * sizeof *attrs);
  if (chunk->attrs.len) memcpy(attrs, chunk->attrs.ptr, chunk->attrs.len * sizeof *attrs);
  chunk->attrs.ptr = attrs;
  reposync_attr *attr = &attrs[chunk->attrs.len++];
  attr->name = name;
  attr->value.tag = tag;
  return attr;
}

/* Adds an attribute to a chunk. */
static inline void reposync_add_text(reposync_chunk *chunk, reposync_text name, reposync_text value) {
  reposync_add_attr(chunk, name, REPOSYNC_ATTR_TEXT)->value.of.text = value;
}
static inline void reposync_add_number(reposync_chunk *chunk, reposync_text name, double value) {
  reposync_add_attr(chunk, name, REPOSYNC_ATTR_NUMBER)->value.of.number = value;
}
static inline void reposync_add_flag(reposync_chunk *chunk, reposync_text name, bool value) {
  reposync_add_attr(chunk, name, REPOSYNC_ATTR_FLAG)->value.of.flag = value;
}

/* Names the passage of the document, as a byte range, of which a generated text was made: its lines, and the
 * link to it, are those of the passage. */
static inline void reposync_add_origin(reposync_chunk *chunk, size_t start, size_t end) {
  reposync_add_number(chunk, REPOSYNC_TEXT("@start"), (double)start);
  reposync_add_number(chunk, REPOSYNC_TEXT("@end"), (double)end);
}

/* Adds a problem; set its `pointer` or `at` afterwards if it has a location. */
static inline reposync_diagnostic *reposync_add_problem(reposync_diagnostics *problems, uint8_t severity,
                                                        reposync_text code, reposync_text message) {
  problems->ptr = (reposync_diagnostic *)reposync_grown(problems->ptr, problems->len, &problems->room, sizeof *problems->ptr);
  reposync_diagnostic *problem = &problems->ptr[problems->len++];
  memset(problem, 0, sizeof *problem);
  problem->severity = severity;
  problem->code = code;
  problem->message = message;
  return problem;
}

/* Adds an error for one key of the configuration; always returns false. */
static inline bool reposync_refuse(reposync_diagnostics *problems, reposync_text key, reposync_text message) {
  char *pointer = (char *)reposync_alloc(key.len * 2 + 1);
  size_t len = 0;
  pointer[len++] = '/';
  for (size_t i = 0; i < key.len; i++) {
    char c = key.ptr[i];
    pointer[len++] = c == '~' || c == '/' ? '~' : c;
    if (c == '~' || c == '/') pointer[len++] = c == '~' ? '0' : '1';
  }
  reposync_add_problem(problems, REPOSYNC_ERROR, REPOSYNC_TEXT("invalid-config"), message)->pointer =
      reposync_some(reposync_text_at(pointer, len));
  return false;
}

/* Iterates over the keys of a JSON object. `rest` is initially the whole text. The value is raw JSON
 * (a string includes its quotes). The text must be well-formed, which the host guarantees. */
static inline bool reposync_next_key(reposync_text *rest, reposync_text *key, reposync_text *value) {
  const char *at = rest->ptr, *end = rest->ptr + rest->len;
  while (at < end && *at != '"') at++;
  if (at >= end) return false;
  const char *start = ++at;
  while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
  if (at >= end) return false;
  *key = reposync_text_at(start, (size_t)(at - start));
  at++;
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || *at == ':')) at++;
  start = at;
  int depth = 0;
  for (bool quoted = false; at < end; at++) {
    if (quoted) {
      if (*at == '\\') at++;
      else if (*at == '"') quoted = false;
    } else if (*at == '"') quoted = true;
    else if (*at == '[' || *at == '{') depth++;
    else if ((*at == ',' || *at == '}') && depth == 0) break;
    else if (*at == ']' || *at == '}') depth--;
  }
  if (at > end) at = end;
  size_t len = (size_t)(at - start);
  while (len && (start[len - 1] == ' ' || start[len - 1] == '\n' || start[len - 1] == '\r' || start[len - 1] == '\t')) len--;
  *value = reposync_text_at(start, len);
  *rest = reposync_text_at(at, (size_t)(end - at));
  return true;
}

/* Parses a JSON number without sign and fraction. */
static inline bool reposync_whole_number(reposync_text value, uint32_t *number) {
  uint64_t n = 0;
  for (size_t i = 0; i < value.len; i++) {
    if (value.ptr[i] < '0' || value.ptr[i] > '9') return false;
    n = n * 10 + (uint64_t)(value.ptr[i] - '0');
    if (n > UINT32_MAX) return false;
  }
  *number = (uint32_t)n;
  return value.len > 0;
}

/* Parses a JSON string; the text is valid until the call returns. */
static inline bool reposync_json_string(reposync_text value, reposync_text *text) {
  if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"') return false;
  static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
  char *copy = (char *)reposync_alloc(value.len * 2);
  size_t len = 0;
  uint32_t high = 0; /* first half of a surrogate pair */
  for (size_t i = 1; i + 1 < value.len; i++) {
    char c = value.ptr[i];
    if (c != '\\' || i + 2 >= value.len) {
      copy[len++] = c;
      continue;
    }
    c = value.ptr[++i];
    if (c != 'u') {
      const char *letter = c ? strchr(letters, c) : NULL;
      copy[len++] = letter ? meant[letter - letters] : c;
      continue;
    }
    uint32_t code = 0;
    for (int digit = 0; digit < 4 && i + 2 < value.len; digit++) {
      c = value.ptr[++i];
      code = code * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    code &= 0xffff;
    if (code >= 0xd800 && code < 0xdc00) {
      high = code;
      continue;
    }
    if (code >= 0xdc00 && code < 0xe000) {
      code = high ? 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00) : 0xfffd;
      high = 0;
    }
    if (code < 0x80) copy[len++] = (char)code;
    else if (code < 0x800) copy[len++] = (char)(0xc0 | code >> 6);
    else if (code < 0x10000) copy[len++] = (char)(0xe0 | code >> 12);
    else copy[len++] = (char)(0xf0 | code >> 18);
    if (code >= 0x10000) copy[len++] = (char)(0x80 | (code >> 12 & 0x3f));
    if (code >= 0x800) copy[len++] = (char)(0x80 | (code >> 6 & 0x3f));
    if (code >= 0x80) copy[len++] = (char)(0x80 | (code & 0x3f));
  }
  *text = reposync_text_at(copy, len);
  return true;
}

/* ---- Memory of one call: an arena of blocks, freed when the call has returned. ---------------- */

typedef struct reposync_block { struct reposync_block *below; size_t used, size; } reposync_block;
static reposync_block *reposync_blocks;

static inline void *reposync_take(size_t align, size_t size) {
  reposync_block *block = reposync_blocks;
  size_t at = block ? (block->used + align - 1) & ~(align - 1) : 0;
  if (!block || at > block->size || size > block->size - at) {
    size_t room = size > 65000 ? size : 65000;
    if (room > SIZE_MAX - sizeof *block - 16) abort();
    block = (reposync_block *)malloc(sizeof *block + 16 + room);
    if (!block) abort();
    block->below = reposync_blocks;
    block->size = room;
    reposync_blocks = block;
    at = 0;
  }
  block->used = at + size;
  char *first = (char *)(((uintptr_t)(block + 1) + 15) & ~(uintptr_t)15);
  return first + at;
}

static inline void *reposync_alloc(size_t size) {
  void *memory = reposync_take(8, size);
  memset(memory, 0, size);
  return memory;
}

/* Frees all blocks but the first one. Native tests call it between two calls. */
static inline void reposync_release(void) {
  while (reposync_blocks && reposync_blocks->below) {
    reposync_block *block = reposync_blocks;
    reposync_blocks = block->below;
    free(block);
  }
  if (reposync_blocks) reposync_blocks->used = 0;
}

/* ---- Raw imports and exports of the component (canonical ABI of wit/chunker.wit). ------------- */

#ifdef __wasm__

#ifdef __cplusplus
static_assert(sizeof(reposync_chunk) == 56 && sizeof(reposync_diagnostic) == 44 &&
              sizeof(reposync_attr) == 24, "the layout of the contract");
#else
_Static_assert(sizeof(reposync_chunk) == 56 && sizeof(reposync_diagnostic) == 44 &&
               sizeof(reposync_attr) == 24, "the layout of the contract");
#endif

#define REPOSYNC_EXPORT(name) __attribute__((export_name(name)))
#define REPOSYNC_CHUNKER "reposync:chunker/chunker@1.1.0#"

__attribute__((import_module("reposync:chunker/log@1.1.0"), import_name("write")))
void reposync_imported_write(int32_t level, const char *message, size_t len);

void reposync_log(int level, reposync_text message) {
  reposync_imported_write(level, message.ptr, message.len);
}

__attribute__((import_module("reposync:chunker/host@1.1.0"), import_name("count-tokens")))
uint32_t reposync_imported_count_tokens(const char *text, size_t len);
__attribute__((import_module("reposync:chunker/host@1.1.0"), import_name("max-tokens")))
void reposync_imported_max_tokens(void *answer);

uint32_t reposync_count_tokens(reposync_text text) {
  return reposync_imported_count_tokens(text.ptr, text.len);
}

bool reposync_max_tokens(uint32_t *most) {
  struct { uint8_t is_some; uint32_t value; } answer = { 0, 0 };
  reposync_imported_max_tokens(&answer);
  if (answer.is_some) *most = answer.value;
  return answer.is_some != 0;
}

REPOSYNC_EXPORT("cabi_realloc")
void *reposync_exported_realloc(void *old, size_t old_size, size_t align, size_t size) {
  void *grown = reposync_take(align, size);
  if (old_size) memcpy(grown, old, old_size < size ? old_size : size);
  return grown;
}

static reposync_text reposync_literal(const char *text) {
  return reposync_text_at(text, strlen(text));
}

REPOSYNC_EXPORT(REPOSYNC_CHUNKER "describe")
void *reposync_exported_describe(void) {
  typedef struct {
    reposync_text name, version, summary;
    uint8_t offset_unit;
    reposync_texts extensions;
    reposync_text config_schema;
  } described;
  described *it = (described *)reposync_alloc(sizeof *it);
  it->name = reposync_literal(chunker_info.name);
  it->version = reposync_literal(chunker_info.version);
  it->summary = reposync_literal(chunker_info.summary);
  it->config_schema = reposync_literal(chunker_info.config_schema);
  size_t count = 0;
  while (chunker_info.extensions && chunker_info.extensions[count]) count++;
  it->extensions.ptr = (reposync_text *)reposync_alloc(count * sizeof(reposync_text));
  it->extensions.len = count;
  for (size_t i = 0; i < count; i++) it->extensions.ptr[i] = reposync_literal(chunker_info.extensions[i]);
  return it;
}

typedef struct { uint8_t is_error; void *ptr; size_t len; } reposync_configured;

REPOSYNC_EXPORT(REPOSYNC_CHUNKER "configure")
void *reposync_exported_configure(const char *json, size_t len) {
  reposync_diagnostics problems = { NULL, 0, 0 };
  bool taken = chunker_configure(reposync_text_at(json, len), &problems);
  reposync_configured *answer = (reposync_configured *)reposync_alloc(sizeof *answer);
  answer->is_error = !taken;
  answer->ptr = problems.ptr;
  answer->len = problems.len;
  return answer;
}

REPOSYNC_EXPORT(REPOSYNC_CHUNKER "split")
void *reposync_exported_split(const char *path, size_t path_len, const char *text, size_t text_len,
                              const char *media_type, size_t media_type_len, int32_t has_language,
                              const char *language, size_t language_len, reposync_attr *attrs,
                              size_t attrs_len) {
  typedef struct {
    uint8_t is_error;
    union {
      struct { reposync_chunk *ptr; size_t len; } chunks;
      struct { uint8_t tag; const void *ptr; size_t len; } error;
    } of;
  } answered;
  reposync_document document;
  document.path = reposync_text_at(path, path_len);
  document.text = reposync_text_at(text, text_len);
  document.media_type = reposync_text_at(media_type, media_type_len);
  document.language.is_some = has_language != 0;
  document.language.value = reposync_text_at(language, language_len);
  document.attrs.ptr = attrs;
  document.attrs.len = attrs_len;
  reposync_chunks chunks = { NULL, 0, 0 };
  reposync_diagnostics problems = { NULL, 0, 0 };
  reposync_outcome outcome = chunker_split(&document, &chunks, &problems);
  answered *answer = (answered *)reposync_alloc(sizeof *answer);
  if (outcome == REPOSYNC_SPLIT) {
    answer->of.chunks.ptr = chunks.ptr;
    answer->of.chunks.len = chunks.len;
    return answer;
  }
  answer->is_error = 1;
  if (outcome == REPOSYNC_BAD_DOCUMENT) {
    answer->of.error.tag = 1;
    answer->of.error.ptr = problems.ptr;
    answer->of.error.len = problems.len;
  } else if (outcome == REPOSYNC_FAILED) {
    answer->of.error.tag = 2;
    if (problems.len) {
      answer->of.error.ptr = problems.ptr[problems.len - 1].message.ptr;
      answer->of.error.len = problems.ptr[problems.len - 1].message.len;
    }
  }
  return answer;
}

REPOSYNC_EXPORT("cabi_post_" REPOSYNC_CHUNKER "describe")
void reposync_after_describe(void *answer) { (void)answer; reposync_release(); }
REPOSYNC_EXPORT("cabi_post_" REPOSYNC_CHUNKER "configure")
void reposync_after_configure(void *answer) { (void)answer; reposync_release(); }
REPOSYNC_EXPORT("cabi_post_" REPOSYNC_CHUNKER "split")
void reposync_after_split(void *answer) { (void)answer; reposync_release(); }

#else

void reposync_log(int level, reposync_text message) { (void)level; (void)message; }
uint32_t reposync_count_tokens(reposync_text text) { return (uint32_t)((text.len + 3) / 4); }
bool reposync_max_tokens(uint32_t *most) { (void)most; return false; }

#endif /* __wasm__ */

#ifdef __cplusplus
}
#endif
#endif /* REPOSYNC_CHUNKER_H */

// Uses every function of the header, so that `plugins/build.sh` notices code that C++ rejects.
#include "reposync_chunker.h"

static const char *const extensions[] = { ".txt", NULL };

const reposync_info chunker_info = { "example", "0.1.0", "One chunk for the document.", extensions, "" };

bool chunker_configure(reposync_text json, reposync_diagnostics *problems) {
  reposync_text key, value, text;
  uint32_t number;
  bool fine = true;
  while (reposync_next_key(&json, &key, &value)) {
    bool known = reposync_equal(key, "marker");
    if (!known || !(reposync_json_string(value, &text) || reposync_whole_number(value, &number)))
      fine = reposync_refuse(problems, key, REPOSYNC_TEXT("write a text or a number"));
  }
  return fine;
}

reposync_outcome chunker_split(const reposync_document *document, reposync_chunks *chunks,
                               reposync_diagnostics *problems) {
  if (document->text.len == 0) return REPOSYNC_SPLIT;
  if (!reposync_equal(document->path, "")) reposync_log(REPOSYNC_LOG_DEBUG, reposync_copy(document->path));
  if (document->text.ptr[0] == '\0') {
    reposync_add_problem(problems, REPOSYNC_ERROR, REPOSYNC_TEXT("binary"), REPOSYNC_TEXT("is not text"));
    return REPOSYNC_BAD_DOCUMENT;
  }
  reposync_chunk *chunk = reposync_add_slice(chunks, 0, document->text.len);
  chunk->kind = reposync_some(REPOSYNC_TEXT("document"));
  reposync_add_text(chunk, REPOSYNC_TEXT("first"), reposync_text_at(document->text.ptr, 0));
  reposync_add_number(chunk, REPOSYNC_TEXT("bytes"), (double)document->text.len);
  reposync_add_flag(chunk, REPOSYNC_TEXT("whole"), true);
  reposync_add_generated(chunks, REPOSYNC_TEXT("generated"))->kind = chunk->kind;
  return REPOSYNC_SPLIT;
}

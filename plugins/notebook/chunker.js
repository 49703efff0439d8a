// Jupyter notebooks: one chunk per cell, under the headings above it.
//
// A notebook is JSON, so the text of a cell is not a range of the file: the chunks are generated, and name
// the passage of the file from which they were made.
// Outputs (images, tables of numbers) are not indexed unless configured.

const CONFIG_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    outputs: {
      type: 'boolean',
      default: false,
      description: 'Index the text that code cells printed, too.',
    },
    raw: {
      type: 'boolean',
      default: false,
      description: 'Index raw cells, too.',
    },
  },
};

const KINDS = ['markdown', 'code', 'raw', 'heading'];

// Real notebooks nest a few levels deep. The JSON parser recurses, and its stack holds more than 5,000
// levels; anything deeper than this limit is an attempt to exhaust it.
const MAX_DEPTH = 2000;

let config = defaults();

function defaults() {
  const entries = Object.entries(CONFIG_SCHEMA.properties);
  return Object.fromEntries(entries.map(([key, schema]) => [key, schema.default]));
}

export const chunker = {
  describe() {
    return {
      name: 'notebook',
      version: '0.2.0',
      summary: 'Jupyter notebooks: one chunk a cell, under the headings above it.',
      offsetUnit: 'utf16-units',
      extensions: ['.ipynb'],
      configSchema: JSON.stringify(CONFIG_SCHEMA),
    };
  },

  configure(json) {
    const given = JSON.parse(json);
    const problems = [];
    for (const [key, value] of Object.entries(given)) {
      if (!Object.hasOwn(CONFIG_SCHEMA.properties, key)) {
        const known = Object.keys(CONFIG_SCHEMA.properties).map((it) => `\`${it}\``);
        problems.push(problem(key, `unknown key, expected ${known.join(' or ')}`));
      } else if (typeof value !== 'boolean') {
        problems.push(problem(key, 'write true or false'));
      }
    }
    if (problems.length > 0) throw problems;
    config = { ...defaults(), ...given };
    return [];
  },

  split(document) {
    return chunks(parse(document.text), passages(document.text));
  },
};

function problem(key, message) {
  const pointer = '/' + key.replaceAll('~', '~0').replaceAll('/', '~1');
  return { severity: 'error', code: 'invalid-config', message, pointer };
}

function parse(text) {
  if (isTooDeep(text)) throw bad('too-deep', `this JSON nests more than ${MAX_DEPTH} levels deep`);
  let notebook;
  try {
    notebook = JSON.parse(text);
  } catch (error) {
    throw bad('not-json', `a notebook is JSON, and this is not: ${error.message}`);
  }
  // Before format 4 the cells were in worksheets.
  const cells = notebook?.cells ?? list(notebook?.worksheets).flatMap((it) => list(it?.cells));
  if (!Array.isArray(cells) || (!notebook?.cells && !notebook?.worksheets)) {
    throw bad('no-cells', 'this JSON is no notebook: it has no list `cells`');
  }
  return { cells, language: language(notebook.metadata) };
}

/** Whether lists and objects are nested more than `MAX_DEPTH` levels deep. */
function isTooDeep(text) {
  // Few notebooks have that many brackets at all; `split` counts them at native speed.
  const count = (mark) => text.split(mark, MAX_DEPTH + 2).length - 1;
  if (count('[') + count('{') <= MAX_DEPTH) return false;
  let depth = 0;
  for (const mark of outsideStrings(text).match(/[[\]{}]/g) ?? []) {
    depth += mark === '[' || mark === '{' ? 1 : -1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** The parts of a JSON text outside of strings. Splits at the quotes, at native speed. */
function outsideStrings(text) {
  const outside = [];
  let inside = false;
  for (const piece of text.split('"')) {
    if (!inside) outside.push(piece);
    inside = !inside || endsInEscape(piece);
  }
  return outside.join('');
}

/** Whether a quote after this piece is escaped: an odd number of backslashes precedes it. */
function endsInEscape(piece) {
  let escapes = 0;
  while (piece[piece.length - 1 - escapes] === '\\') escapes++;
  return escapes % 2 === 1;
}

function bad(code, message) {
  return { tag: 'bad-document', val: [{ severity: 'error', code, message }] };
}

function language(metadata) {
  const name = metadata?.language_info?.name ?? metadata?.kernelspec?.language;
  return typeof name === 'string' ? name.toLowerCase().toWellFormed() : undefined;
}

/**
 * The ranges of the cells' sources in a notebook's text, in order: of the whole cell if it has no source.
 * Splits at the quotes, at native speed. The lists of notebooks before format 4 are not found.
 */
function passages(text) {
  const found = [];
  const pieces = text.split('"');
  let [at, depth, key, string] = [0, 0, '', -1];
  let [inCells, cell, source] = [false, undefined, -1];
  for (let n = 0; n < pieces.length; at += pieces[n].length + 1, n++) {
    const piece = pieces[n];
    if (string >= 0) {
      if (endsInEscape(piece)) continue;
      if (/^\s*:/.test(pieces[n + 1] ?? '')) {
        key = piece;
      } else if (depth === 3 && cell && isSource(key)) {
        cell = { start: string, end: at + piece.length + 1, begin: cell.begin };
      }
      string = -1;
      continue;
    }
    for (const { 0: mark, index } of piece.matchAll(/[[\]{}]/g)) {
      if (mark === '[' || mark === '{') {
        depth++;
        if (depth === 2 && mark === '[') inCells = key === 'cells';
        if (depth === 3 && inCells) cell = { begin: at + index };
        if (depth === 4 && cell && isSource(key)) source = at + index;
      } else {
        depth--;
        if (depth === 3 && source >= 0) {
          cell = { start: source, end: at + index + 1, begin: cell.begin };
          source = -1;
        }
        if (depth === 2 && cell) {
          found.push({ start: cell.start ?? cell.begin, end: cell.end ?? at + index + 1 });
          cell = undefined;
        }
        if (depth === 1) inCells = false;
      }
    }
    string = at + piece.length;
  }
  return found;
}

/** Whether a key of a cell holds its text. */
function isSource(key) {
  return key === 'source' || key === 'input';
}

/** The chunks of a notebook's cells. */
function chunks({ cells, language }, passages) {
  const found = [];
  const path = [];
  for (let at = 0; at < cells.length; at++) {
    const cell = cells[at];
    const kind = cell?.cell_type;
    if (kind === 'raw' && !config.raw) continue;
    let text = joined(cell?.source ?? cell?.input).trimEnd();
    if (kind === 'markdown') follow(path, text);
    if (kind === 'code' && config.outputs) text = [text, ...printed(cell)].join('\n\n').trimEnd();
    if (text.trim() === '') continue;

    const attrs = [['cell', { tag: 'number', val: at + 1 }]];
    if (kind === 'code' && language) attrs.push(['language', { tag: 'text', val: language }]);
    const tags = list(cell.metadata?.tags)
      .filter((it) => typeof it === 'string')
      .map((it) => it.toWellFormed());
    if (tags.length > 0) attrs.push(['tags', { tag: 'texts', val: tags }]);
    const passage = passages.length === cells.length ? passages[at] : undefined;
    if (passage) {
      attrs.push(['@start', { tag: 'number', val: passage.start }], ['@end', { tag: 'number', val: passage.end }]);
    }
    const titles = path.filter(Boolean);
    found.push({
      content: { tag: 'generated', val: text },
      context: titles.length > 0 ? titles.join(' > ') : undefined,
      kind: KINDS.includes(kind) ? kind : undefined,
      name: titles.at(-1),
      attrs,
    });
  }
  return found;
}

/** Records a cell's headings: `path[level - 1]` is the current title of that level. */
function follow(path, text) {
  let fence = '';
  for (const line of text.split('\n')) {
    const mark = /^ {0,3}(```|~~~)/.exec(line)?.[1];
    if (mark && (fence === '' || fence === mark)) fence = fence === '' ? mark : '';
    if (fence !== '' || !line.startsWith('#')) continue;
    const heading = /^(#{1,6})[ \t]+(.+)/.exec(line);
    if (!heading) continue;
    path.length = Math.min(path.length, heading[1].length - 1);
    path[heading[1].length - 1] = heading[2].replace(/[ \t]#+[ \t]*$/, '').trim();
  }
}

/** The text outputs of a cell. */
function printed(cell) {
  return list(cell.outputs)
    .filter(isText)
    .map((it) => joined(it?.text ?? it?.data?.['text/plain']).trimEnd())
    .filter((it) => it !== '');
}

/**
 * Whether an output is text. An image or a widget also has a text, but only a placeholder:
 * `<Figure size 640x480 with 1 Axes>`.
 */
function isText(output) {
  // Before format 4 the media types of an output were keys next to its text.
  const old = ['png', 'jpeg', 'svg', 'pdf', 'json', 'javascript'];
  if (old.some((kind) => output?.[kind] !== undefined)) return false;
  return Object.keys(output?.data ?? {}).every((type) => type.startsWith('text/'));
}

/**
 * Notebooks store a text as one string or as a list of lines. JSON can contain a lone surrogate,
 * which is invalid in the component's results.
 */
function joined(text) {
  const whole = Array.isArray(text) ? text.filter((it) => typeof it === 'string').join('') : text;
  return typeof whole === 'string' ? whole.toWellFormed() : '';
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

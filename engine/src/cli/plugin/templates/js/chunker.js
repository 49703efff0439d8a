// A chunker component for RepoSync: a chunk starts at every line with a marker.

// The keys of `config` in `reposync.toml`. Types and defaults are checked against this schema below.
const CONFIG_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    marker: {
      type: 'string',
      default: '## ',
      description: 'A chunk starts at each line that starts with this text.',
    },
  },
};

let config = {};

export const chunker = {
  describe() {
    return {
      name: '{{name}}',
      version: '0.1.0',
      summary: 'Starts a chunk at every line with a marker.',
      offsetUnit: 'utf16-units', // the unit of JavaScript's strings; RepoSync converts
      extensions: ['.txt'],
      configSchema: JSON.stringify(CONFIG_SCHEMA),
    };
  },

  // Called once. Returns warnings; throws a list of problems to refuse the configuration.
  configure(json) {
    config = checked(JSON.parse(json));
    if (config.marker === '') {
      throw [problem('marker', 'set the text that the first line of a chunk starts with')];
    }
    return [];
  },

  // Called for every document. Throw `{ tag: 'not-mine' }` to leave it to the next chunker.
  split(document) {
    return sections(document.text, config.marker);
  },
};

/** The chunks of a text: ranges of it, in order. */
function sections(text, marker) {
  const chunks = [];
  let start = 0;
  // Searching with `indexOf` is far faster than going through the characters one by one.
  for (;;) {
    const found = text.indexOf('\n' + marker, start);
    const end = found < 0 ? text.length : found + 1;
    const section = text.slice(start, end).trimEnd();
    if (section !== '') {
      const chunk = {
        content: { tag: 'slice', val: { start, end: start + section.length } },
        kind: 'section',
        attrs: [],
      };
      const title = section.startsWith(marker) && section.slice(marker.length).split('\n', 1)[0].trim();
      if (title) chunk.name = title;
      chunks.push(chunk);
    }
    if (found < 0) return chunks;
    start = end;
  }
}

/** The configuration with its defaults, or a list of problems. */
function checked(given) {
  const schemas = CONFIG_SCHEMA.properties;
  const problems = [];
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(schemas, key)) {
      problems.push(problem(key, `unknown key, expected ${Object.keys(schemas).join(', ')}`));
    } else if (typeof value !== schemas[key].type) {
      problems.push(problem(key, `write a ${schemas[key].type}`));
    }
  }
  if (problems.length > 0) throw problems;
  const defaults = Object.entries(schemas).map(([key, schema]) => [key, schema.default]);
  return { ...Object.fromEntries(defaults), ...given };
}

/** A problem with one key. With `pointer` RepoSync can show the line of `reposync.toml`. */
function problem(key, message) {
  const pointer = '/' + key.replaceAll('~', '~0').replaceAll('/', '~1');
  return { severity: 'error', code: 'invalid-config', message, pointer };
}

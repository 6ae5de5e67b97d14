/** Code blocks of the README and of docs/ are compiled; the README's first program is the example that is run. */

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { page as boardPage } from '../src/board/assets/page.ts';
import { HELP } from '../src/cli/help.ts';
import { EVENT_TYPES } from '../src/events/events.ts';
import { fillTemplate, parseTemplate } from '../src/key/template.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
];
const read = (page: string) => readFileSync(join(root, page), 'utf8');
const blocks = (page: string, language: string) =>
  [...read(page).matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)]
    .filter(([, of]) => of === language)
    .map(([, , code]) => code as string);

/** The headings of a page, as its links name them. */
const headingsOf = (page: string) =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );

const RECIPES = 'docs/recipes.md';
const SETUPS = 'docs/setups.md';
const withoutIndents = (code: string) => code.replace(/^ +/gm, '');

describe('the docs', () => {
  it('have code blocks of known languages only', () => {
    const languages = pages.flatMap(page =>
      [...read(page).matchAll(/^```(\w*)\n[\s\S]*?^```/gm)].map(([, of]) => of),
    );

    for (const language of languages) expect(language).to.be.oneOf(['ts', 'js', 'sh', 'json', 'lua']);
  });

  it('compile', () => {
    const folder = join(root, 'test', 'docs-blocks');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    // Those of the recipes and the set-ups are parts of examples.
    for (const page of pages.filter(name => name !== RECIPES && name !== SETUPS)) {
      for (const [i, code] of blocks(page, 'ts').entries()) {
        writeFileSync(join(folder, `${page.replace(/\W/g, '-')}-${i}.ts`), `${code}\nexport {};\n`);
      }
    }
    cpSync(join(root, 'test/fixtures/docs-names.d.ts'), join(folder, 'names.d.ts'));
    cpSync(join(root, 'examples/testing/run-job.ts'), join(folder, 'run-job.ts'));
    const config = {
      extends: '../../tsconfig.json',
      compilerOptions: {
        isolatedDeclarations: false,
        declaration: false,
        noUnusedLocals: false,
        noUnusedParameters: false,
      },
      include: ['.'],
      exclude: [],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(
      dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
      'bin',
      'tsc',
    );

    let output = '';
    try {
      execFileSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    } catch (error) {
      output = (error as { stdout: string }).stdout;
    }

    expect(output).to.equal('');
    rmSync(folder, { recursive: true });
  });

  it("begin with a program that is run: the README's first is the example", () => {
    const example = read('examples/quick-start.ts').replace(/^\/\*\*.*?\*\/\n\n/s, '');

    expect(example.startsWith((blocks('README.md', 'ts')[0] as string).trimEnd())).to.equal(true);
  });

  it('have recipes that are parts of examples, which are run', () => {
    const recipes = read(RECIPES).split(/^## /m).slice(1);

    for (const recipe of recipes) {
      const [title] = recipe.split('\n');
      const [, example] = /\]\(\.\.\/(examples\/[\w-]+\.ts)\)/.exec(recipe) ?? [];
      expect(example, `the recipe '${title}' links to no example`).to.be.a('string');
      const codes = [...recipe.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code as string);
      expect(codes, title).to.not.deep.equal([]);
      for (const code of codes)
        expect(withoutIndents(read(example as string)), title).to.include(withoutIndents(code));
    }
    expect(recipes).to.have.length(9);
  });

  it('have set-ups that are parts of examples, which are run', () => {
    const examples = readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' })
      .filter(name => /\.c?[jt]s$/.test(name))
      .map(name => read(`examples/${name}`));
    const codes = [...blocks(SETUPS, 'ts'), ...blocks(SETUPS, 'js')];

    for (const code of codes)
      expect(
        examples.some(example => example.includes(code.trimEnd())),
        code,
      ).to.equal(true);
    expect(codes).to.have.length(4);
  });

  it('name commands that there are', () => {
    const { scripts } = JSON.parse(read('package.json'));
    for (const page of [...pages, 'CONTRIBUTING.md']) {
      for (const [, script] of read(page).matchAll(/npm run ([\w:]+)/g))
        expect(scripts).to.have.property(script as string);
    }
  });

  it('link to what there is', () => {
    for (const page of [...pages, 'CONTRIBUTING.md', 'CHANGELOG.md']) {
      for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
        expect(existsSync(join(root, dirname(page), target as string)), `${page} → ${target}`).to.equal(true);
      }
    }
  });

  it('link to headings that there are', () => {
    for (const page of [...pages, 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md']) {
      for (const [, target, heading] of read(page).matchAll(/\]\((?!https?:)([^)#]*\.md|)#([^)]+)\)/g)) {
        const linked = target === '' ? page : join(dirname(page), target as string);
        expect(headingsOf(linked), `${page} → ${target}#${heading}`).to.include(heading);
      }
    }
  });

  it('are named where errors are documented, in the help of the command line and on the board', () => {
    const docstrings = read('src/core/errors.ts');
    for (const [, code] of docstrings.matchAll(/code = '(ERR_\w+)'/g)) {
      expect(read('docs/troubleshooting.md'), code).to.include(code as string);
    }
    const named = [docstrings, HELP, boardPage('Locks')].map(text => [
      ...text.matchAll(/(docs\/[\w-]+\.md)(?:#([\w-]+))?/g),
    ]);
    for (const [, page, heading] of named.flat()) {
      expect(pages).to.include(page);
      if (heading) expect(headingsOf(page as string)).to.include(heading);
    }
    expect(named.map(({ length }) => length)).to.deep.equal([5, 1, 1]);
  });

  it('count the guarantees as they are numbered', () => {
    const numbers = [...read('docs/guarantees.md').matchAll(/^## (\d+)\. /gm)].map(([, number]) =>
      Number(number),
    );

    expect(numbers).to.deep.equal(Array.from({ length: 11 }, (_, i) => i + 1));
    for (const page of ['README.md', 'docs/guarantees.md'])
      expect(read(page)).to.match(/\beleven guarantees\b/i);
  });

  it('list the names that dashboards and alerts depend on', () => {
    const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => read(`src/${name}`))
      .join();
    const codes = [...new Set(sources.match(/\b(?:ONCE|ERR_LOCK)_[A-Z_]+\b/g))].sort();

    for (const page of ['CHANGELOG.md', 'docs/operations.md']) {
      for (const type of EVENT_TYPES) expect(read(page), page).to.include(`\`${type}\``);
    }
    const named = read('CHANGELOG.md').match(/(?<=`)(?:ONCE|ERR_LOCK)_[A-Z_]+(?=`)/g) ?? [];
    expect([...new Set(named)].sort()).to.deep.equal(codes);
  });

  it('name commands of the command line that there are', () => {
    for (const page of pages) {
      for (const [, command] of read(page).matchAll(/npx bullmq-once ([a-z][\w-]*)/g))
        expect(HELP, page).to.include(`bullmq-once ${command} `);
    }
  });

  it('show the keys that templates make', () => {
    const rows = [...read('docs/keys.md').matchAll(/^\| `([^`]+)` +\| `(\{[^`]+\})` +\| `([^`]+)` +\|$/gm)];

    for (const [, template, data, key] of rows) {
      const parsed = new Function(`return (${data})`)();
      expect(fillTemplate(parseTemplate(template as string), parsed, 'the data')).to.equal(key);
    }
    expect(rows).to.have.length(6);
  });

  it('hold stored records that can be read', () => {
    for (const block of blocks('docs/protocol.md', 'json')) expect(JSON.parse(block)).to.include({ once: 1 });
  });
});

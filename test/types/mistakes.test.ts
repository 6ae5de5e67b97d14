/** What the compiler says of wrong programs, and that it takes the right ones, in every supported version of TypeScript. */

import { expect } from 'chai';
import {
  type Compilation,
  compileAll,
  compilers,
  type DecoratorSystem,
  decoratorSystems,
} from './compile.ts';
import { MISTAKES_IN_CALLS, MISTAKES_IN_DECORATORS, type Mistake, PREAMBLE } from './mistakes.ts';

const mistakes = [...MISTAKES_IN_CALLS, ...MISTAKES_IN_DECORATORS];
const fileOf = (mistake: Mistake) => `wrong-${mistakes.indexOf(mistake)}.ts`;

describe('the compiler', () => {
  let compilation: Compilation;
  before(async () => {
    const programs = mistakes.map(mistake => [fileOf(mistake), PREAMBLE + mistake.program] as const);
    compilation = await compileAll(new Map(programs));
  });

  for (const version of Object.keys(compilers)) {
    const check = (mistake: Mistake, system: DecoratorSystem) => {
      const diagnostics = compilation.of(version, system).filter(({ file }) => file === fileOf(mistake));
      const [found, ...others] = diagnostics.filter(({ at }) => at.startsWith(mistake.at));

      expect(found, diagnostics.map(({ text }) => text).join('\n')).to.not.equal(undefined);
      expect(others).to.deep.equal([]);
      for (const words of mistake.says) expect(found?.text).to.contain(words);
    };

    describe(`of TypeScript ${version}`, () => {
      for (const mistake of MISTAKES_IN_CALLS) {
        it(`explains ${mistake.what}`, () => check(mistake, 'standard'));
      }

      for (const system of decoratorSystems) {
        describe(`with ${system} decorators`, () => {
          for (const mistake of MISTAKES_IN_DECORATORS) {
            it(`explains ${mistake.what}`, () => check(mistake, system));
          }

          it('compiles right programs', () => {
            const others = compilation.of(version, system).filter(({ file }) => !file.startsWith('wrong-'));

            expect(others).to.deep.equal([]);
          });
        });
      }
    });
  }
});
